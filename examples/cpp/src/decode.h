// From a file to an upright RGB image.
#pragma once

#include <string>

#include "image.h"
#include "transform.h"

namespace imgcls {

// JPEG and PNG, as Pillow's convert("RGB") gives them. Throws ImageError.
Image decode_file(const std::string& path, const Transform& transform);

}  // namespace imgcls

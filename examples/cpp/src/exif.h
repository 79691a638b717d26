// The EXIF orientation: how a camera was held.
#pragma once

#include <cstddef>

#include "image.h"

namespace imgcls {

// From a TIFF block, without the `Exif\0\0` that a JPEG puts before it. Damaged ones count as 1, upright.
int orientation_of(const unsigned char* tiff, std::size_t size);

// The image upright, for an orientation of 1 to 8.
Image turned(Image image, int orientation);

}  // namespace imgcls

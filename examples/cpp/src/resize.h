// Pillow's antialiased resize: a filter as wide as the shrinking, along rows first, then along columns.
#pragma once

#include <string>

#include "image.h"

namespace imgcls {

// An image's size after the resize, and the window of it that is wanted; the window may reach beyond it.
struct Window {
  int width, height, left, top, crop_width, crop_height;
};

// Only the window is made. Filters: nearest, box, bilinear, hamming, bicubic, lanczos. What lies beyond the image is
// `pad`.
Image resized_crop(const Image& image, const Window& window, const std::string& filter, const unsigned char pad[3]);

}  // namespace imgcls

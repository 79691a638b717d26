#include "exif.h"

#include <cstring>

namespace imgcls {
namespace {

constexpr int kOrientationTag = 0x0112, kShort = 3, kEntryBytes = 12;

}  // namespace

int orientation_of(const unsigned char* tiff, std::size_t size) {
  if (size < 8) return 1;
  const bool is_little = std::memcmp(tiff, "II", 2) == 0;
  if (!is_little && std::memcmp(tiff, "MM", 2) != 0) return 1;
  const auto number = [&](std::size_t at, int bytes) -> std::size_t {
    if (at + bytes > size) return 0;
    std::size_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | tiff[at + (is_little ? bytes - 1 - i : i)];
    return value;
  };
  const std::size_t directory = number(4, 4), count = number(directory, 2);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t entry = directory + 2 + i * kEntryBytes;
    if (entry + kEntryBytes > size) return 1;
    if (number(entry, 2) != kOrientationTag) continue;
    const std::size_t value = number(entry + 2, 2) == kShort ? number(entry + 8, 2) : number(entry + 8, 4);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image turned(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool is_sideways = orientation >= 5;
  Image result{is_sideways ? image.height : image.width, is_sideways ? image.width : image.height, {}};
  result.rgb.resize(image.rgb.size());
  // Whether a column, or a row, of the stored image is counted from its other end.
  const bool flips_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flips_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      int from_x = is_sideways ? y : x, from_y = is_sideways ? x : y;
      if (flips_x) from_x = image.width - 1 - from_x;
      if (flips_y) from_y = image.height - 1 - from_y;
      std::memcpy(
          &result.rgb[3 * (std::size_t(y) * result.width + x)], &image.rgb[3 * (std::size_t(from_y) * image.width + from_x)],
          3);
    }
  }
  return result;
}

}  // namespace imgcls

#include "transform.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "resize.h"

namespace imgcls {
namespace {

// Where the crop begins: half of what is beyond it, rounded towards even where it cuts, and up where it adds borders.
int crop_start(int size, int crop) {
  const int beyond = size - crop;
  return static_cast<int>(beyond >= 0 ? std::nearbyint(beyond / 2.0) : std::ceil(beyond / 2.0));
}

}  // namespace

Transform Transform::from_json(const Json& values) {
  Transform result;
  result.resize_px = static_cast<int>(values.at("resize_px").number);
  result.crop_height = result.crop_width = static_cast<int>(values.at("crop_px").number);
  if (values.has("crop_width_px")) result.crop_width = static_cast<int>(values.at("crop_width_px").number);
  for (const Json& each : values.at("mean").array) result.mean.push_back(static_cast<float>(each.number));
  for (const Json& each : values.at("std").array) result.std.push_back(static_cast<float>(each.number));
  result.interpolation = values.at("interpolation").string;
  if (values.has("resize")) result.resize = values.at("resize").string;
  if (values.has("channels")) result.channels = values.at("channels").string;
  if (values.has("scale")) result.scale = static_cast<float>(values.at("scale").number);
  result.has_background = values.has("background_rgb");
  for (int c = 0; c < 3; ++c) {
    if (values.has("pad_rgb")) result.pad[c] = static_cast<unsigned char>(values.at("pad_rgb").array.at(c).number);
    if (result.has_background)
      result.background[c] = static_cast<unsigned char>(values.at("background_rgb").array.at(c).number);
  }
  const auto count = static_cast<std::size_t>(result.num_channels());
  if (result.resize_px < 1 || result.crop_height < 1 || result.crop_width < 1 || result.mean.size() != count ||
      result.std.size() != count)
    throw std::runtime_error("the description's transform means nothing");
  return result;
}

Image Transform::crop(const Image& image) const {
  const double box_height = resize_px;
  const double box_width = std::max(std::nearbyint(box_height * crop_width / crop_height), 1.0);
  double width = box_width, height = box_height;
  const bool is_wide = image.width * box_height > image.height * box_width;
  if (resize == "pad") {
    if (is_wide)
      height = std::max(std::nearbyint(box_width * image.height / image.width), 1.0);
    else
      width = std::max(std::nearbyint(box_height * image.width / image.height), 1.0);
  } else if (resize != "squash") {
    if (is_wide)
      width = std::max(std::floor(box_height * image.width / image.height), 1.0);
    else
      height = std::max(std::floor(box_width * image.height / image.width), 1.0);
  }
  const int left = crop_start(static_cast<int>(width), crop_width), top = crop_start(static_cast<int>(height), crop_height);
  return resized_crop(
      image, {static_cast<int>(width), static_cast<int>(height), left, top, crop_width, crop_height}, interpolation, pad);
}

void Transform::normalise(const Image& cropped, float* input) const {
  const std::size_t area = static_cast<std::size_t>(cropped.width) * cropped.height;
  const float white = scale == 1 ? 255.0f : 1.0f;
  if (channels == "grey") {
    for (std::size_t i = 0; i < area; ++i) {
      const unsigned char* rgb = &cropped.rgb[3 * i];
      // ITU-R 601-2 in 16 fractional bits.
      const int grey = (19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 0x8000) >> 16;
      input[i] = (grey / white - mean[0]) / std[0];
    }
    return;
  }
  for (int c = 0; c < 3; ++c) {
    const int from = channels == "bgr" ? 2 - c : c;
    for (std::size_t i = 0; i < area; ++i) input[c * area + i] = (cropped.rgb[3 * i + from] / white - mean[c]) / std[c];
  }
}

}  // namespace imgcls

// What happens to an image between decoding and the network, as the model's description says.
#pragma once

#include <string>
#include <vector>

#include "image.h"
#include "json.h"

namespace imgcls {

struct Transform {
  int resize_px = 0, crop_height = 0, crop_width = 0;
  std::vector<float> mean, std;
  std::string interpolation, resize = "crop", channels = "rgb";
  unsigned char pad[3] = {0, 0, 0};
  float scale = 1;
  bool has_background = false;
  unsigned char background[3] = {0, 0, 0};

  // Throws std::runtime_error for a description that lacks something.
  static Transform from_json(const Json& values);

  // Resize, then crop or pad, in bytes.
  Image crop(const Image& image) const;

  // Writes channels x height x width floats, the network's input.
  void normalise(const Image& cropped, float* input) const;

  int num_channels() const { return channels == "grey" ? 1 : 3; }
};

}  // namespace imgcls

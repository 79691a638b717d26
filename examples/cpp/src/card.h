// What an exported file says of itself.
#pragma once

#include <string>
#include <vector>

#include "transform.h"

namespace imgcls {

struct Card {
  std::string name;
  std::vector<std::string> classes;
  Transform transform;
  // Whether the transform is part of the graph, which then takes decoded RGB bytes of any size.
  bool takes_pixels = false;
  // Of calibrated models: probabilities are softmax(logits * scale + offset); each is empty, one number, or one a class.
  std::vector<float> scale, offset;

  // Throws std::runtime_error for a description of a newer format, or a damaged one.
  static Card from_text(const std::string& text);
};

}  // namespace imgcls

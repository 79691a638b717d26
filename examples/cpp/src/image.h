// An image in memory, and the reason why there is none.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace imgcls {

struct Image {
  int width = 0, height = 0;
  std::vector<unsigned char> rgb;  // height x width x 3
};

// Why an input has no answer; the kinds are those of `imgcls predict`.
struct ImageError : std::runtime_error {
  ImageError(std::string kind_, const std::string& message) : std::runtime_error(message), kind(std::move(kind_)) {}
  std::string kind;
};

}  // namespace imgcls

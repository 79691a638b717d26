// The network: here an AOTInductor package, run by libtorch. Another runtime is another network.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace imgcls {

class Network {
 public:
  // Loads native code from the file and runs it: only for files of your own. Throws std::exception.
  Network(const std::string& path, int num_threads);
  ~Network();

  // The description that imgcls wrote into the file.
  std::string description() const;

  // Logits, count x classes, for normalised floats of this shape.
  std::vector<float> run(const std::vector<float>& input, const std::vector<std::int64_t>& shape);

  // The same for decoded bytes, count x height x width x 3.
  std::vector<float> run(const std::vector<unsigned char>& input, const std::vector<std::int64_t>& shape);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace imgcls

#include "network.h"

#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <stdexcept>

namespace imgcls {

struct Network::Implementation {
  torch::inductor::AOTIModelPackageLoader loader;

  std::vector<float> run(const at::Tensor& input) {
    c10::InferenceMode guard;
    const at::Tensor logits = loader.run({input}).at(0).to(at::kFloat).cpu().contiguous();
    return {logits.data_ptr<float>(), logits.data_ptr<float>() + logits.numel()};
  }
};

Network::Network(const std::string& path, int num_threads) {
  if (num_threads > 0) at::set_num_threads(num_threads);
  implementation_.reset(new Implementation{torch::inductor::AOTIModelPackageLoader(path)});
}

Network::~Network() = default;

std::string Network::description() const {
  const auto metadata = implementation_->loader.get_metadata();
  const auto found = metadata.find("imgcls");
  if (found == metadata.end()) throw std::runtime_error("it was not written by imgcls");
  return found->second;
}

std::vector<float> Network::run(const std::vector<float>& input, const std::vector<std::int64_t>& shape) {
  return implementation_->run(at::from_blob(const_cast<float*>(input.data()), shape, at::kFloat));
}

std::vector<float> Network::run(const std::vector<unsigned char>& input, const std::vector<std::int64_t>& shape) {
  return implementation_->run(at::from_blob(const_cast<unsigned char*>(input.data()), shape, at::kByte));
}

}  // namespace imgcls

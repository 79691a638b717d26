// Classifies image files and prints a line of JSON for each, the records of `imgcls predict -f jsonl`.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "card.h"
#include "decode.h"
#include "digest.h"
#include "json.h"
#include "network.h"

namespace {

using imgcls::Card;
using imgcls::Image;

// The exit codes of imgcls.
constexpr int kUsage = 2, kSomeFailed = 4, kModel = 6;
constexpr char kHelp[] =
    "usage: imgcls_predict MODEL.pt2 [--top-k N] [--batch-size N] [--threads N] IMAGE... | -\n"
    "  MODEL.pt2 is what `imgcls export --to aoti` wrote; its code is run, so take only your own.\n"
    "  A lone - reads the names of images from stdin, one a line.\n";

struct Options {
  std::string model;
  std::vector<std::string> images;
  std::size_t top_k = 5, batch_size = 32, num_threads = std::max(std::thread::hardware_concurrency(), 1u);
};

// One input: its pixels, or the reason why there are none.
struct Input {
  std::string name;
  int width = 0, height = 0;
  Image pixels;
  std::unique_ptr<imgcls::ImageError> error;
};

Input decoded(const std::string& name, const Card& card) {
  Input input{name, 0, 0, {}, nullptr};
  try {
    Image image = imgcls::decode_file(name, card.transform);
    input.width = image.width, input.height = image.height;
    input.pixels = card.takes_pixels ? std::move(image) : card.transform.crop(image);
  } catch (const imgcls::ImageError& error) {
    input.error = std::make_unique<imgcls::ImageError>(error);
  } catch (const std::bad_alloc&) {
    input.error = std::make_unique<imgcls::ImageError>("too_large", "not enough memory to decode it");
  }
  return input;
}

std::vector<Input> decoded_batch(const std::string* names, std::size_t count, const Card& card, std::size_t num_threads) {
  std::vector<Input> batch(count);
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < std::min(num_threads, count); ++t)
    threads.emplace_back([&] {
      for (std::size_t i; (i = next++) < count;) batch[i] = decoded(names[i], card);
    });
  for (std::thread& thread : threads) thread.join();
  return batch;
}

std::vector<float> probabilities(const float* logits, const Card& card) {
  const std::size_t count = card.classes.size();
  std::vector<float> result(logits, logits + count);
  const auto of_class = [&](const std::vector<float>& values, std::size_t k, float otherwise) {
    return values.empty() ? otherwise : values.at(values.size() == 1 ? 0 : k);
  };
  for (std::size_t k = 0; k < count; ++k)
    result[k] = result[k] * of_class(card.scale, k, 1) + of_class(card.offset, k, 0);
  const float largest = *std::max_element(result.begin(), result.end());
  float sum = 0;
  for (float& value : result) sum += value = std::exp(value - largest);
  for (float& value : result) value /= sum;
  return result;
}

void print_error(const Input& input, const std::string& id) {
  std::cout << "{\"input\": " << imgcls::quoted(input.name) << ", \"status\": \"error\", \"model\": " << imgcls::quoted(id)
            << ", \"error\": {\"kind\": " << imgcls::quoted(input.error->kind)
            << ", \"message\": " << imgcls::quoted(input.error->what()) << "}}\n";
}

void print_answer(const Input& input, const std::string& id, const float* logits, const Card& card, std::size_t top_k) {
  const auto found = probabilities(logits, card);
  std::vector<int> order(found.size());
  std::iota(order.begin(), order.end(), 0);
  top_k = std::min(top_k, order.size());
  std::partial_sort(order.begin(), order.begin() + top_k, order.end(), [&](int one, int other) {
    return found[one] != found[other] ? found[one] > found[other] : one < other;
  });
  std::cout << "{\"input\": " << imgcls::quoted(input.name) << ", \"status\": \"ok\", \"width\": " << input.width
            << ", \"height\": " << input.height << ", \"model\": " << imgcls::quoted(id) << ", \"predictions\": [";
  for (std::size_t i = 0; i < top_k; ++i) {
    char number[32];
    std::snprintf(number, sizeof number, "%.7g", found[order[i]]);
    std::cout << (i ? ", " : "") << "{\"class_id\": " << order[i]
              << ", \"label\": " << imgcls::quoted(card.classes[order[i]]) << ", \"probability\": " << number << "}";
  }
  std::cout << "]}\n";
}

// Logits of all inputs that could be decoded, one row after the other.
std::vector<float> logits_of(const std::vector<Input>& batch, imgcls::Network& network, const Card& card) {
  std::vector<float> rows;
  if (card.takes_pixels) {
    // Each has a size of its own.
    for (const Input& input : batch) {
      if (input.error) continue;
      const auto row = network.run(input.pixels.rgb, {1, input.height, input.width, 3});
      rows.insert(rows.end(), row.begin(), row.end());
    }
    return rows;
  }
  const auto& transform = card.transform;
  const std::size_t values = std::size_t(transform.num_channels()) * transform.crop_height * transform.crop_width;
  std::vector<float> images;
  for (const Input& input : batch) {
    if (input.error) continue;
    images.resize(images.size() + values);
    transform.normalise(input.pixels, images.data() + images.size() - values);
  }
  if (images.empty()) return rows;
  return network.run(
      images, {std::int64_t(images.size() / values), transform.num_channels(), transform.crop_height, transform.crop_width});
}

Options parse(int count, char** arguments) {
  Options options;
  const auto refuse = [](const std::string& why) {
    std::cerr << "error: " << why << "\n" << kHelp;
    std::exit(kUsage);
  };
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    const auto number = [&] {
      const long value = i + 1 < count ? std::strtol(arguments[++i], nullptr, 10) : 0;
      if (value < 1) refuse(argument + " takes a number above 0");
      return static_cast<std::size_t>(value);
    };
    if (argument == "--help") {
      std::cout << kHelp;
      std::exit(0);
    } else if (argument == "--top-k") {
      options.top_k = number();
    } else if (argument == "--batch-size") {
      options.batch_size = number();
    } else if (argument == "--threads") {
      options.num_threads = number();
    } else if (argument.rfind("--", 0) == 0) {
      refuse("unknown option " + argument);
    } else if (options.model.empty()) {
      options.model = argument;
    } else {
      options.images.push_back(argument);
    }
  }
  if (options.images == std::vector<std::string>{"-"}) {
    options.images.clear();
    for (std::string line; std::getline(std::cin, line);)
      if (!line.empty()) options.images.push_back(line);
  }
  if (options.model.empty() || options.images.empty()) refuse("name a model and images");
  return options;
}

}  // namespace

int main(int count, char** arguments) {
  std::ios::sync_with_stdio(false);
  const Options options = parse(count, arguments);
  bool has_failed = false;
  try {
    const std::string digest = imgcls::file_sha256(options.model);
    imgcls::Network network(options.model, static_cast<int>(options.num_threads));
    const Card card = Card::from_text(network.description());
    const std::string id = card.name + "@" + digest.substr(0, 12);
    for (std::size_t start = 0; start < options.images.size(); start += options.batch_size) {
      const std::size_t size = std::min(options.batch_size, options.images.size() - start);
      const auto batch = decoded_batch(&options.images[start], size, card, options.num_threads);
      const auto logits = logits_of(batch, network, card);
      std::size_t row = 0;
      for (const Input& input : batch) {
        if (input.error) {
          has_failed = true;
          print_error(input, id);
        } else {
          print_answer(input, id, &logits.at(card.classes.size() * row++), card, options.top_k);
        }
      }
      std::cout.flush();
    }
  } catch (const std::exception& error) {
    std::cerr << "error: " << options.model << ": " << std::string(error.what()).substr(0, 300) << "\n";
    return kModel;
  }
  return has_failed ? kSomeFailed : 0;
}

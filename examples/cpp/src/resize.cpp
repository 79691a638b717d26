#include "resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace imgcls {
namespace {

constexpr double kPi = 3.14159265358979323846;
// Weights are integers of so many fractional bits: what is left of 32 beside 8 of the pixel and 2 for what a filter
// overshoots.
constexpr int kFractionBits = 32 - 8 - 2;

double sinc(double x) { return x == 0 ? 1 : std::sin(kPi * x) / (kPi * x); }

// A filter's weight at a distance, and how far it reaches.
struct Filter {
  double support;
  double (*weight)(double);
};

Filter filter_named(const std::string& name) {
  if (name == "box") return {0.5, [](double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }};
  if (name == "bilinear") return {1.0, [](double x) { return std::max(1 - std::fabs(x), 0.0); }};
  if (name == "hamming")
    return {1.0, [](double x) {
              x = std::fabs(x);
              return x >= 1 ? 0.0 : sinc(x) * (0.54 + 0.46 * std::cos(kPi * x));
            }};
  if (name == "bicubic")
    // Keys (1981) with a = -0.5.
    return {2.0, [](double x) {
              x = std::fabs(x);
              if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
              return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0.0;
            }};
  if (name == "lanczos") return {3.0, [](double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0.0; }};
  throw std::runtime_error("unknown interpolation " + name);
}

// Of one output pixel: from which input pixel on, and the weights.
struct Taps {
  int first = 0;
  std::vector<int> weights;
};

std::vector<Taps> taps_along(int from, int to, int start, int count, const std::string& name) {
  std::vector<Taps> result(count);
  const double scale = static_cast<double>(from) / to;
  if (name == "nearest") {
    for (int i = 0; i < count; ++i)
      result[i] = {std::min(static_cast<int>((start + i + 0.5) * scale), from - 1), {1 << kFractionBits}};
    return result;
  }
  const Filter filter = filter_named(name);
  const double stretch = std::max(scale, 1.0), reach = filter.support * stretch;
  for (int i = 0; i < count; ++i) {
    const double centre = (start + i + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - reach + 0.5), 0);
    const int last = std::min(static_cast<int>(centre + reach + 0.5), from);
    std::vector<double> weights;
    double sum = 0;
    for (int x = first; x < last; ++x) {
      weights.push_back(filter.weight((x - centre + 0.5) / stretch));
      sum += weights.back();
    }
    result[i].first = first;
    for (const double weight : weights)
      result[i].weights.push_back(static_cast<int>(std::lround(weight / sum * (1 << kFractionBits))));
  }
  return result;
}

unsigned char rounded(int sum) { return static_cast<unsigned char>(std::clamp(sum >> kFractionBits, 0, 255)); }

constexpr int kHalf = 1 << (kFractionBits - 1);

// A part of an image: rows of `width` pixels, the first of which is the image's pixel (left, top).
struct Part {
  int left, top, width, height;
  std::vector<unsigned char> rgb;
};

int end_of(const std::vector<Taps>& taps) {
  return taps.back().first + static_cast<int>(taps.back().weights.size());
}

// Each row becomes as wide as there are taps.
Part across(const Part& part, const std::vector<Taps>& columns) {
  const int width = static_cast<int>(columns.size());
  Part result{0, part.top, width, part.height, std::vector<unsigned char>(std::size_t{3} * width * part.height)};
  for (int y = 0; y < part.height; ++y) {
    const unsigned char* source = &part.rgb[std::size_t{3} * part.width * y];
    unsigned char* target = &result.rgb[std::size_t{3} * width * y];
    for (int x = 0; x < width; ++x) {
      int red = kHalf, green = kHalf, blue = kHalf;
      const unsigned char* pixel = source + 3 * (columns[x].first - part.left);
      for (const int weight : columns[x].weights) {
        red += weight * pixel[0], green += weight * pixel[1], blue += weight * pixel[2];
        pixel += 3;
      }
      target[3 * x] = rounded(red), target[3 * x + 1] = rounded(green), target[3 * x + 2] = rounded(blue);
    }
  }
  return result;
}

// As many rows as there are taps.
Part down(const Part& part, const std::vector<Taps>& rows) {
  const int height = static_cast<int>(rows.size()), values = 3 * part.width;
  Part result{part.left, 0, part.width, height, std::vector<unsigned char>(std::size_t(values) * height)};
  std::vector<int> sums(values);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    const unsigned char* source = &part.rgb[std::size_t(values) * (rows[y].first - part.top)];
    for (const int weight : rows[y].weights) {
      for (int x = 0; x < values; ++x) sums[x] += weight * source[x];
      source += values;
    }
    for (int x = 0; x < values; ++x) result.rgb[std::size_t(values) * y + x] = rounded(sums[x]);
  }
  return result;
}

}  // namespace

Image resized_crop(const Image& image, const Window& window, const std::string& filter, const unsigned char pad[3]) {
  Image result{window.crop_width, window.crop_height, {}};
  result.rgb.resize(std::size_t{3} * window.crop_width * window.crop_height);
  for (std::size_t i = 0; i < result.rgb.size(); ++i) result.rgb[i] = pad[i % 3];
  // What of the window lies in the image.
  const int left = std::max(window.left, 0), right = std::min(window.left + window.crop_width, window.width);
  const int top = std::max(window.top, 0), bottom = std::min(window.top + window.crop_height, window.height);
  const auto columns = taps_along(image.width, window.width, left, right - left, filter);
  const auto rows = taps_along(image.height, window.height, top, bottom - top, filter);
  // Only what the window is made of.
  Part part{columns.front().first, rows.front().first, end_of(columns) - columns.front().first,
            end_of(rows) - rows.front().first, {}};
  part.rgb.resize(std::size_t{3} * part.width * part.height);
  for (int y = 0; y < part.height; ++y)
    std::memcpy(
        &part.rgb[std::size_t{3} * part.width * y],
        &image.rgb[3 * (std::size_t(part.top + y) * image.width + part.left)], std::size_t{3} * part.width);
  // Each pass rounds, so their order shows. Pillow goes down first where that saves more than twice the rows that the
  // other way saves columns.
  const int fewer_rows = image.height - window.height, fewer_columns = image.width - window.width;
  const bool is_down_first = image.height != window.height && fewer_rows > 2 * std::max(fewer_columns, 0);
  part = is_down_first ? across(down(part, rows), columns) : down(across(part, columns), rows);
  for (int y = 0; y < part.height; ++y)
    std::memcpy(
        &result.rgb[3 * (std::size_t(top - window.top + y) * window.crop_width + (left - window.left))],
        &part.rgb[std::size_t{3} * part.width * y], std::size_t{3} * part.width);
  return result;
}

}  // namespace imgcls

#include "digest.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace imgcls {
namespace {

using Word = std::uint32_t;

Word turned(Word value, int bits) { return (value >> bits) | (value << (32 - bits)); }

// The standard defines its constants as fractions of roots of the first primes.
struct Constants {
  std::array<Word, 64> steps;
  std::array<Word, 8> start;

  Constants() {
    int found = 0;
    for (int number = 2; found < 64; ++number) {
      bool is_prime = true;
      for (int divisor = 2; divisor * divisor <= number; ++divisor) is_prime = is_prime && number % divisor != 0;
      if (!is_prime) continue;
      steps[found] = fraction(std::cbrt(static_cast<long double>(number)));
      if (found < 8) start[found] = fraction(std::sqrt(static_cast<long double>(number)));
      ++found;
    }
  }

  static Word fraction(long double value) {
    return static_cast<Word>((value - std::floor(value)) * 4294967296.0L);
  }
};

void mix(std::array<Word, 8>& state, const unsigned char* block) {
  static const Constants constants;
  Word schedule[64];
  for (int i = 0; i < 16; ++i)
    schedule[i] = Word(block[4 * i]) << 24 | Word(block[4 * i + 1]) << 16 | Word(block[4 * i + 2]) << 8 | block[4 * i + 3];
  for (int i = 16; i < 64; ++i) {
    const Word before = schedule[i - 15], late = schedule[i - 2];
    schedule[i] = schedule[i - 16] + (turned(before, 7) ^ turned(before, 18) ^ (before >> 3)) + schedule[i - 7] +
                  (turned(late, 17) ^ turned(late, 19) ^ (late >> 10));
  }
  auto s = state;
  for (int i = 0; i < 64; ++i) {
    const Word choice = (s[4] & s[5]) ^ (~s[4] & s[6]), majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    const Word first = s[7] + (turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25)) + choice + constants.steps[i] + schedule[i];
    const Word second = (turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22)) + majority;
    s = {first + second, s[0], s[1], s[2], s[3] + first, s[4], s[5], s[6]};
  }
  for (int i = 0; i < 8; ++i) state[i] += s[i];
}

}  // namespace

std::string file_sha256(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("can't be read");
  std::array<Word, 8> state = Constants().start;
  std::vector<unsigned char> buffer(1 << 20);
  std::uint64_t length = 0;
  for (;;) {
    file.read(reinterpret_cast<char*>(buffer.data()), buffer.size());
    const std::size_t count = file.gcount();
    length += count;
    std::size_t at = 0;
    for (; at + 64 <= count; at += 64) mix(state, buffer.data() + at);
    if (count == buffer.size()) continue;
    // The end: a one, zeros, and the number of bits.
    unsigned char last[128] = {};
    const std::size_t rest = count - at, size = rest < 56 ? 64 : 128;
    std::memcpy(last, buffer.data() + at, rest);
    last[rest] = 0x80;
    for (int i = 0; i < 8; ++i) last[size - 1 - i] = static_cast<unsigned char>(length * 8 >> (8 * i));
    for (at = 0; at < size; at += 64) mix(state, last + at);
    break;
  }
  std::string text;
  for (const Word word : state) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", word);
    text += digits;
  }
  return text;
}

}  // namespace imgcls

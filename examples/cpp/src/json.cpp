#include "json.h"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace imgcls {
namespace {

constexpr int kMostNested = 64;

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Json whole() {
    Json value = parse(0);
    skip_space();
    if (at_ != text_.size()) fail("something follows the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw std::runtime_error("not JSON at byte " + std::to_string(at_) + ": " + why);
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
  }

  char peek() {
    skip_space();
    if (at_ >= text_.size()) fail("it ends early");
    return text_[at_];
  }

  void expect(char wanted) {
    if (peek() != wanted) fail(std::string("expected ") + wanted);
    ++at_;
  }

  bool take(const char* word) {
    const std::string wanted(word);
    if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
    at_ += wanted.size();
    return true;
  }

  Json parse(int depth) {
    if (depth > kMostNested) fail("nested too deeply");
    Json value;
    switch (peek()) {
      case '{':
        value.kind = Json::Kind::object;
        ++at_;
        for (bool first = true; peek() != '}'; first = false) {
          if (!first) expect(',');
          if (peek() != '"') fail("expected a key");
          std::string key = parse_string();
          expect(':');
          value.object[key] = parse(depth + 1);
        }
        ++at_;
        return value;
      case '[':
        value.kind = Json::Kind::array;
        ++at_;
        for (bool first = true; peek() != ']'; first = false) {
          if (!first) expect(',');
          value.array.push_back(parse(depth + 1));
        }
        ++at_;
        return value;
      case '"':
        value.kind = Json::Kind::string;
        value.string = parse_string();
        return value;
      default:
        break;
    }
    if (take("null")) return value;
    if (take("true") || take("false")) {
      value.kind = Json::Kind::boolean;
      value.boolean = text_[at_ - 2] == 'u';
      return value;
    }
    value.kind = Json::Kind::number;
    char* end = nullptr;
    value.number = std::strtod(text_.c_str() + at_, &end);
    if (end == text_.c_str() + at_) fail("expected a value");
    at_ = end - text_.c_str();
    return value;
  }

  unsigned parse_hex() {
    if (at_ + 4 > text_.size()) fail("it ends early");
    const unsigned value = std::strtoul(text_.substr(at_, 4).c_str(), nullptr, 16);
    at_ += 4;
    return value;
  }

  std::string parse_string() {
    std::string result;
    for (++at_;;) {
      if (at_ >= text_.size()) fail("a string doesn't end");
      const char c = text_[at_++];
      if (c == '"') return result;
      if (c != '\\') {
        result += c;
        continue;
      }
      if (at_ >= text_.size()) fail("a string doesn't end");
      const char escaped = text_[at_++];
      const std::string plain = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
      const auto found = plain.find(escaped);
      if (found != std::string::npos) {
        result += meant[found];
      } else if (escaped == 'u') {
        unsigned code = parse_hex();
        // Two halves of one character.
        if (code >= 0xD800 && code < 0xDC00 && take("\\u")) code = 0x10000 + ((code - 0xD800) << 10) + parse_hex() - 0xDC00;
        append_utf8(result, code);
      } else {
        fail("an unknown escape");
      }
    }
  }

  static void append_utf8(std::string& text, unsigned code) {
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else if (code < 0x800) {
      text += static_cast<char>(0xC0 | (code >> 6));
      text += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      text += static_cast<char>(0xE0 | (code >> 12));
      text += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      text += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      text += static_cast<char>(0xF0 | (code >> 18));
      text += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
      text += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      text += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

}  // namespace

const Json& Json::at(const std::string& key) const {
  const auto found = object.find(key);
  if (found == object.end()) throw std::runtime_error("the description lacks " + key);
  return found->second;
}

Json parse_json(const std::string& text) { return Parser(text).whole(); }

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", c);
      result += escaped;
    } else {
      result += c;
    }
  }
  return result + '"';
}

}  // namespace imgcls

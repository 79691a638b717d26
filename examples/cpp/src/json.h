// JSON, as far as a model's description and a record need it.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace imgcls {

// A parsed value; of its members only the one that its kind names means anything.
struct Json {
  enum class Kind { null, boolean, number, string, array, object };

  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0;
  std::string string;
  std::vector<Json> array;
  std::map<std::string, Json> object;

  bool has(const std::string& key) const { return object.count(key) && object.at(key).kind != Kind::null; }
  // Throws std::runtime_error where there is no such key.
  const Json& at(const std::string& key) const;
};

// Throws std::runtime_error for what is no JSON.
Json parse_json(const std::string& text);

// A string in quotes, escaped.
std::string quoted(const std::string& text);

}  // namespace imgcls

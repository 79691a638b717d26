// SHA-256 (FIPS 180-4): records name a model by the first digits of its file's.
#pragma once

#include <string>

namespace imgcls {

// In hexadecimal digits. Throws std::runtime_error where the file can't be read.
std::string file_sha256(const std::string& path);

}  // namespace imgcls

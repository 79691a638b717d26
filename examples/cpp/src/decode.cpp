#include "decode.h"

#include <cstdio>
// It needs the one before.
#include <jpeglib.h>
#include <jerror.h>
#include <png.h>
#include <sys/stat.h>

#include <cerrno>
#include <csetjmp>
#include <cstring>
#include <vector>

#include "exif.h"

namespace imgcls {
namespace {

// Where Pillow gives up.
constexpr double kMostPixels = 178956970;

void check_size(double width, double height) {
  if (width * height > kMostPixels)
    throw ImageError("too_large", std::to_string(long(width)) + " x " + std::to_string(long(height)) + " is too large");
}

std::vector<unsigned char> content_of(const std::string& path) {
  struct stat found;
  if (stat(path.c_str(), &found) != 0) {
    if (errno == EACCES) throw ImageError("permission_denied", "permission denied");
    throw ImageError("not_found", "no such file");
  }
  if (S_ISDIR(found.st_mode)) throw ImageError("not_an_image", "is a folder");
  if (!S_ISREG(found.st_mode)) throw ImageError("not_an_image", "is not a regular file");
  if (found.st_size == 0) throw ImageError("not_an_image", "the file is empty");
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) throw ImageError(errno == EACCES ? "permission_denied" : "not_found", std::strerror(errno));
  std::vector<unsigned char> content(found.st_size);
  content.resize(std::fread(content.data(), 1, content.size(), file));
  std::fclose(file);
  return content;
}

// What libjpeg calls when it can't go on; it must not return.
struct JpegErrors {
  jpeg_error_mgr manager;
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
  bool is_truncated;
};

void on_jpeg_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->escape, 1);
}

void on_jpeg_message(j_common_ptr info, int level) {
  // What libjpeg says when the data end early: it goes on with grey.
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) reinterpret_cast<JpegErrors*>(info->err)->is_truncated = true;
}

Image decode_jpeg(const std::vector<unsigned char>& content) {
  jpeg_decompress_struct info;
  JpegErrors errors{};
  info.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = on_jpeg_error;
  errors.manager.emit_message = on_jpeg_message;
  // Nothing with a destructor may begin its life between here and the end of the decoding.
  std::vector<unsigned char> pixels, row;
  int width = 0, height = 0, channels = 0, orientation = 1;
  bool is_inverted = false, is_too_large = false;
  if (setjmp(errors.escape)) {
    jpeg_destroy_decompress(&info);
    throw ImageError("corrupt_image", errors.message);
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, content.data(), content.size());
  jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&info, TRUE);
  for (jpeg_saved_marker_ptr marker = info.marker_list; marker; marker = marker->next)
    if (marker->data_length > 6 && std::memcmp(marker->data, "Exif\0\0", 6) == 0) {
      orientation = orientation_of(marker->data + 6, marker->data_length - 6);
      break;
    }
  width = info.image_width, height = info.image_height;
  is_too_large = double(width) * height > kMostPixels;
  if (!is_too_large) {
    const bool has_black = info.num_components == 4;
    is_inverted = has_black && info.saw_Adobe_marker;
    info.out_color_space = has_black ? JCS_CMYK : info.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&info);
    channels = info.output_components;
    pixels.resize(std::size_t(width) * height * channels);
    while (info.output_scanline < info.output_height) {
      JSAMPROW line = &pixels[std::size_t(info.output_scanline) * width * channels];
      jpeg_read_scanlines(&info, &line, 1);
    }
    jpeg_finish_decompress(&info);
  }
  jpeg_destroy_decompress(&info);
  if (is_too_large) check_size(width, height);
  if (errors.is_truncated) throw ImageError("corrupt_image", "image file is truncated");
  Image image{width, height, {}};
  if (channels == 3) {
    image.rgb = std::move(pixels);
  } else {
    image.rgb.resize(std::size_t{3} * width * height);
    for (std::size_t i = 0; i < std::size_t(width) * height; ++i)
      for (int c = 0; c < 3; ++c) {
        if (channels == 1) {
          image.rgb[3 * i + c] = pixels[i];
          continue;
        }
        const int ink = pixels[4 * i + c], black = pixels[4 * i + 3];
        const int light = is_inverted ? black : 255 - black, covered = is_inverted ? 255 - ink : ink;
        const int product = covered * light + 128;
        image.rgb[3 * i + c] = static_cast<unsigned char>(light - (((product >> 8) + product) >> 8));
      }
  }
  return turned(std::move(image), orientation);
}

struct PngSource {
  const std::vector<unsigned char>& content;
  std::size_t at;
};

void read_png(png_structp png, png_bytep target, png_size_t count) {
  auto* source = static_cast<PngSource*>(png_get_io_ptr(png));
  if (count > source->content.size() - source->at) png_error(png, "image file is truncated");
  std::memcpy(target, source->content.data() + source->at, count);
  source->at += count;
}

struct PngErrors {
  char message[128];
};

void on_png_error(png_structp png, png_const_charp message) {
  std::snprintf(static_cast<PngErrors*>(png_get_error_ptr(png))->message, 128, "%s", message);
  png_longjmp(png, 1);
}

void on_png_warning(png_structp, png_const_charp) {}

Image decode_png(const std::vector<unsigned char>& content, const Transform& transform) {
  PngErrors errors{};
  PngSource source{content, 0};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors, on_png_error, on_png_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (!info) throw ImageError("corrupt_image", "no memory");
  std::vector<unsigned char> pixels;
  std::vector<png_bytep> rows;
  volatile int orientation = 1;
  if (setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, nullptr);
    throw ImageError("corrupt_image", errors.message);
  }
  png_set_read_fn(png, &source, read_png);
  png_read_info(png, info);
  const unsigned width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  if (double(width) * height > kMostPixels) {
    png_destroy_read_struct(&png, &info, nullptr);
    check_size(width, height);
  }
  const int type = png_get_color_type(png, info);
  png_set_expand(png);
  if (png_get_bit_depth(png, info) == 16) {
    // Deep greys are scaled, and of deep colours the upper bytes are taken.
    if (type == PNG_COLOR_TYPE_GRAY)
      png_set_scale_16(png);
    else
      png_set_strip_16(png);
  }
  png_set_gray_to_rgb(png);
  png_set_add_alpha(png, 0xFF, PNG_FILLER_AFTER);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  pixels.resize(std::size_t{4} * width * height);
  rows.resize(height);
  for (unsigned y = 0; y < height; ++y) rows[y] = &pixels[std::size_t{4} * width * y];
  png_read_image(png, rows.data());
  png_read_end(png, info);
#ifdef PNG_eXIf_SUPPORTED
  png_uint_32 exif_size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(png, info, &exif_size, &exif)) orientation = orientation_of(exif, exif_size);
#endif
  png_destroy_read_struct(&png, &info, nullptr);
  Image image{int(width), int(height), std::vector<unsigned char>(std::size_t{3} * width * height)};
  for (std::size_t i = 0; i < std::size_t(width) * height; ++i) {
    const int alpha = pixels[4 * i + 3];
    for (int c = 0; c < 3; ++c) {
      const int colour = pixels[4 * i + c];
      image.rgb[3 * i + c] = static_cast<unsigned char>(
          transform.has_background ? (colour * alpha + transform.background[c] * (255 - alpha) + 127) / 255 : colour);
    }
  }
  return turned(std::move(image), orientation);
}

}  // namespace

Image decode_file(const std::string& path, const Transform& transform) {
  const auto content = content_of(path);
  static const unsigned char kPng[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  if (content.size() > 3 && content[0] == 0xFF && content[1] == 0xD8 && content[2] == 0xFF) return decode_jpeg(content);
  if (content.size() > sizeof kPng && std::memcmp(content.data(), kPng, sizeof kPng) == 0)
    return decode_png(content, transform);
  throw ImageError("not_an_image", "neither JPEG nor PNG");
}

}  // namespace imgcls

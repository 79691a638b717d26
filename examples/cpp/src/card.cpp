#include "card.h"

#include <stdexcept>

#include "json.h"

namespace imgcls {

Card Card::from_text(const std::string& text) {
  const Json values = parse_json(text);
  constexpr int kNewestFormat = 3;
  const double format = values.at("format_version").number;
  if (format < 1 || format > kNewestFormat) throw std::runtime_error("its description is of a newer format");
  if (values.has("multi_label")) throw std::runtime_error("its images have several labels, which is not built in here");
  Card card;
  card.name = values.at("name").string;
  for (const Json& each : values.at("classes").array) card.classes.push_back(each.string);
  card.transform = Transform::from_json(values.at("transform"));
  card.takes_pixels = values.has("input") && values.at("input").string == "pixels";
  if (values.has("calibration")) {
    const Json& calibration = values.at("calibration");
    for (const Json& each : calibration.at("scale").array) card.scale.push_back(static_cast<float>(each.number));
    for (const Json& each : calibration.at("offset").array) card.offset.push_back(static_cast<float>(each.number));
  }
  return card;
}

}  // namespace imgcls

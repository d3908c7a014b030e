-- plot.lua -- draws the course of a soak test as SVG: memory above, latency below.
--
-- Knows nothing of servers: it gets series of points. Times are seconds.

local plot = {}

local WIDTH <const>, LEFT <const>, RIGHT <const>, TOP <const> = 960, 70, 150, 40
local PANEL <const>, GAP <const> = 220, 70
local COLOURS <const> = { "#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a" }

---@class soak.series
---@field name string
---@field points { [1]: number, [2]: number }[] second and value

---@class soak.panel
---@field title string
---@field series soak.series[]
---@field log boolean? the axis of values is logarithmic

local function escaped(text)
  return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

-- 1, 2 or 5 times a power of ten, so that some five steps reach `range`.
local function nice_step(range)
  local power = 10 ^ math.floor(math.log(range / 5, 10))
  for _, factor in ipairs { 1, 2, 5 } do
    if range / (factor * power) <= 6 then return factor * power end
  end
  return 10 * power
end

local function highest(panel)
  local most = 0
  for _, series in ipairs(panel.series) do
    for _, point in ipairs(series.points) do most = math.max(most, point[2]) end
  end
  return most > 0 and most or 1
end

-- The values at which the panel has a line, and its function from a value to 0…1.
local function scale(panel)
  local most, ticks = highest(panel), {}
  if panel.log then
    local low, high = -1, math.max(0, math.ceil(math.log(most, 10)))
    for power = low, high do ticks[#ticks + 1] = 10.0 ^ power end
    return ticks, function(value)
      return math.max(0, (math.log(math.max(value, 10.0 ^ low), 10) - low) / (high - low))
    end
  end
  local step = nice_step(most)
  local top = math.ceil(most / step) * step
  for value = 0, top, step do ticks[#ticks + 1] = value end
  return ticks, function(value) return value / top end
end

local function draw_panel(out, panel, y, x_of, seconds)
  local ticks, at = scale(panel)
  local function add(format, ...) out[#out + 1] = format:format(...) end
  local function y_of(value) return y + PANEL - at(value) * PANEL end
  add('<text x="%d" y="%d" font-weight="bold">%s</text>', LEFT, y - 12, escaped(panel.title))
  for _, value in ipairs(ticks) do
    add('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#d0d7de"/>', LEFT, WIDTH - RIGHT,
      y_of(value), y_of(value))
    add('<text x="%d" y="%.1f" text-anchor="end">%.6g</text>', LEFT - 8, y_of(value) + 4, value)
  end
  local minutes = nice_step(seconds / 60)
  for minute = 0, seconds / 60, minutes do
    add('<text x="%.1f" y="%d" text-anchor="middle">%.6g min</text>', x_of(minute * 60),
      y + PANEL + 18, minute)
  end
  for i, series in ipairs(panel.series) do
    local colour, points = COLOURS[(i - 1) % #COLOURS + 1], {}
    for j, point in ipairs(series.points) do
      points[j] = ("%.1f,%.1f"):format(x_of(point[1]), y_of(point[2]))
    end
    add('<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>', colour,
      table.concat(points, " "))
    add('<text x="%d" y="%d" fill="%s">%s</text>', WIDTH - RIGHT + 10, y + 16 * i, colour,
      escaped(series.name))
  end
end

--- The picture. `bands` are times in which the server was quiet.
---@param title string
---@param panels soak.panel[]
---@param seconds number how long it took
---@param bands { [1]: number, [2]: number }[]
---@return string svg
function plot.draw(title, panels, seconds, bands)
  local height = TOP + #panels * (PANEL + GAP)
  local out = {
    ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d"')
      :format(WIDTH, height, WIDTH, height),
    '  font-family="sans-serif" font-size="12" fill="#1f2328">',
    '<rect width="100%" height="100%" fill="white"/>',
    ('<text x="%d" y="18" font-size="14">%s</text>'):format(LEFT, escaped(title)),
  }
  local function x_of(second)
    return LEFT + second / math.max(seconds, 1) * (WIDTH - LEFT - RIGHT)
  end
  for i, panel in ipairs(panels) do
    local y = TOP + 20 + (i - 1) * (PANEL + GAP)
    for _, band in ipairs(bands) do
      out[#out + 1] = ('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#ddf4ff"/>')
        :format(x_of(band[1]), y, math.max(1, x_of(band[2]) - x_of(band[1])), PANEL)
    end
    draw_panel(out, panel, y, x_of, seconds)
  end
  out[#out + 1] = "</svg>\n"
  return table.concat(out, "\n")
end

return plot

-- looks.lua -- accessibility of every page: names for elements without text, and colours with
-- enough contrast.

local looks = {}

local ROLES = {
  button = true, textbox = true, log = true, image = true, link = true, region = true,
}

--- The roles of those elements of a page that have no name: they are nothing to those who do not
--- see them.
---@param browser browser.chromium
---@return string[]
function looks.nameless(browser)
  local found = {}
  for _, node in ipairs(browser:call("Accessibility.getFullAXTree").nodes) do
    local role = not node.ignored and node.role and node.role.value
    if ROLES[role] and (not node.name or node.name.value == "") then found[#found + 1] = role end
  end
  return found
end

-- What lets something shine through counts as if it did not.
local CONTRAST = [[((selector) => {
  const light = (colour) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const pixel = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    const [r, g, b] = pixel.map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const clear = "rgba(0, 0, 0, 0)";
  let back = document.querySelector(selector);
  const front = light(getComputedStyle(back).color);
  while (getComputedStyle(back).backgroundColor === clear) back = back.parentElement;
  const behind = light(getComputedStyle(back).backgroundColor);
  return (Math.max(front, behind) + 0.05) / (Math.min(front, behind) + 0.05);
})(%q)]]

--- Assert that the words of elements stand out from what is behind them (WCAG 2.1, 1.4.3: 4.5 at
--- least).
---@param browser browser.chromium
---@param scheme "light"|"dark" for the message
---@param selectors string[]
function looks.assert_readable(browser, scheme, selectors)
  for _, selector in ipairs(selectors) do
    local contrast = browser:eval(CONTRAST:format(selector))
    assert(contrast >= 4.5, ("%s in %s: %.2f"):format(selector, scheme, contrast))
  end
end

return looks

-- check.lua -- checks names and texts before they are kept.
--
-- Each check returns nil, or the problem as a sentence for the user. JSON's texts are valid UTF-8.

local check = {}

local LONGEST_NAME, LONGEST_TEXT = 40, 1000 -- characters

--- Without blanks at both ends; anything but a string as it is.
---@param text any
---@return any
function check.trim(text)
  return type(text) == "string" and text:match("^%s*(.-)%s*$") or text
end

-- `controls` matches the control characters that are not allowed. No text with a zero byte passes:
-- to SQLite a statement would end there.
local function check_text(what, text, longest, controls)
  if type(text) ~= "string" then return what .. " must be text" end
  if text == "" then return what .. " is empty" end
  local length = utf8.len(text)
  if length > longest then
    return ("%s must have at most %d characters, not %d"):format(what, longest, length)
  end
  if text:find(controls) then return what .. " has a control character" end
end

---@param name any
---@return string|nil problem
function check.name(name)
  return check_text("name", name, LONGEST_NAME, "%c")
end

---@param text any  may have several lines
---@return string|nil problem
function check.text(text)
  return check_text("text", text, LONGEST_TEXT, "[^%C\n]")
end

return check

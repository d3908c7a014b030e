-- inspect.lua -- `tw.inspect`: any value as text for people.
--
-- Values are written as Lua source where that is possible: strings in quotes, tables with their
-- keys in order. A short table is on one line, a long one has a line for each field. Large values
-- are cut off: the text is for a log or a terminal, never to be read back. It shows no addresses;
-- an object of the library is shown as `tostring` returns it.

local MOST_BYTES = 16384
local MOST_FIELDS = 1000 -- of one table
local MOST_DEPTH = 16
local LINE = 100 -- columns
local LONGEST_STRING = 4096

local plain_key = "^[%a_][%w_]*$"
local keywords = {}
for word in ([[
  and break do else elseif end false for function goto if in local nil not or repeat return then
  true until while]]):gmatch("%a+") do
  keywords[word] = true
end

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\", ['"'] = '\\"' }

local function escape(char)
  return escapes[char] or ("\\%d"):format(char:byte())
end

--- A string as Lua would write it; bytes above 127 stay where all of them are UTF-8.
local function quote(text)
  local cut = #text > LONGEST_STRING and LONGEST_STRING or #text
  local rest = #text - cut
  while rest > 0 and cut > 0 and (text:byte(cut + 1) & 0xC0) == 0x80 do
    cut = cut - 1 -- not in the middle of a character
  end
  local piece = text:sub(1, cut)
  local shown = piece:gsub(utf8.len(piece) and '[%c\\"]' or '[%c\\"\128-\255]', escape)
  return rest > 0 and ('"%s"… (%d bytes)'):format(shown, #text) or '"' .. shown .. '"'
end

--- The text of an object's own __tostring; nil if it has none, or the text has an address.
local function own_text(value)
  local metatable = debug.getmetatable(value)
  if type(metatable) ~= "table" or rawget(metatable, "__tostring") == nil then
    return nil
  end
  local ok, text = pcall(tostring, value)
  return ok and not text:find("0x%x+") and text or nil
end

local function describe(value)
  local kind = type(value)
  if kind == "function" then
    local info = debug.getinfo(value, "S")
    return info.what == "C" and "<function of C>"
      or ("<function %s:%d>"):format(info.short_src, info.linedefined)
  end
  local metatable = debug.getmetatable(value)
  local name = type(metatable) == "table" and rawget(metatable, "__name")
  return type(name) == "string" and ("<%s %s>"):format(kind, name) or ("<%s>"):format(kind)
end

local rank = { number = 1, string = 2, boolean = 3 }

local function before(one, other)
  local a, b = type(one), type(other)
  if a ~= b then
    return (rank[a] or 4) < (rank[b] or 4)
  elseif a == "number" or a == "string" then
    return one < other
  end
  return a == "boolean" and one == false and other == true
end

--- The keys that are not of the list, in order, and whether there are more.
local function keys_of(value, length)
  local keys = {}
  for key in next, value do
    local in_list = math.type(key) == "integer" and key >= 1 and key <= length
    if not in_list then
      if #keys == MOST_FIELDS then
        table.sort(keys, before)
        return keys, true
      end
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, before)
  return keys, false
end

local write

local function key_text(state, key)
  if type(key) == "string" and #key <= LINE and key:find(plain_key) and not keywords[key] then
    state.left = state.left - #key
    return key
  end
  return "[" .. write(state, key, "", MOST_DEPTH) .. "]"
end

--- One field; `name` is nil in a list. The text around the field counts as well.
local function field(state, name, value, indent, depth)
  state.left = state.left - #indent - 4
  local text = write(state, value, indent .. "  ", depth + 1)
  return name and name .. " = " .. text or text
end

--- The fields of a table as texts.
local function fields_of(state, value, indent, depth)
  local length = math.min(rawlen(value), MOST_FIELDS)
  local fields = {}
  for i = 1, length do
    fields[i] = field(state, nil, rawget(value, i), indent, depth)
    if state.left <= 0 then
      return fields, true
    end
  end
  local keys, more = keys_of(value, rawlen(value))
  for _, key in ipairs(keys) do
    fields[#fields + 1] = field(state, key_text(state, key), rawget(value, key), indent, depth)
    if state.left <= 0 then
      return fields, true
    end
  end
  return fields, more or rawlen(value) > length
end

local function write_table(state, value, indent, depth)
  state.left = state.left - 2
  if next(value) == nil then
    return "{}"
  elseif state.open[value] then
    return "<a table that it is in>"
  elseif depth >= MOST_DEPTH then
    return "{ … }"
  end
  state.open[value] = true
  local fields, more = fields_of(state, value, indent, depth)
  state.open[value] = nil
  if more then
    fields[#fields + 1] = "…"
  end
  local short = "{ " .. table.concat(fields, ", ") .. " }"
  if state.on_one_line or #indent + #short <= LINE and not short:find("\n", 1, true) then
    return short
  end
  return "{\n" .. indent .. "  " .. table.concat(fields, ",\n" .. indent .. "  ") .. "\n"
    .. indent .. "}"
end

function write(state, value, indent, depth)
  local kind = type(value)
  local text
  if kind == "string" then
    text = quote(value)
  elseif kind == "number" or kind == "boolean" or kind == "nil" then
    text = tostring(value)
  else
    text = own_text(value)
    if not text and kind == "table" then
      return write_table(state, value, indent, depth)
    end
    text = text or describe(value)
  end
  state.left = state.left - #text
  return text
end

local inspect = {}

--- Any value as text for people: for a log line, a terminal, the console of a test.
---@param value any
---@return string
function inspect.inspect(value)
  return write({ open = {}, left = MOST_BYTES }, value, "", 0)
end

--- The same on one line.
---@param value any
---@return string
function inspect.line(value)
  return write({ open = {}, left = MOST_BYTES, on_one_line = true }, value, "", 0)
end

--- The line where a script's function begins, as the head of a message: "app.lua:3: "; "" for other
--- values.
---@param f any
---@return string
function inspect.place(f)
  local info = type(f) == "function" and debug.getinfo(f, "S")
  if not info or info.what == "C" then
    return ""
  end
  return ("%s:%d: "):format(info.source:match("^@(.*)") or info.short_src, info.linedefined)
end

--- A thrown value as text for people: a string as it is, any other value as its __tostring or its
--- fields. Never an address.
---@param value any
---@return string
function inspect.thrown(value)
  if type(value) == "string" then
    return value
  end
  local metatable = debug.getmetatable(value)
  if type(metatable) == "table" and rawget(metatable, "__tostring") ~= nil then
    local ok, text = pcall(tostring, value)
    return ok and text or "an error value that cannot be shown"
  end
  return type(value) == "table" and "table: " .. inspect.line(value) or inspect.line(value)
end

return inspect

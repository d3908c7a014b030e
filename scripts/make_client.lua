-- make_client.lua -- writes the two small forms of the JavaScript client from its source,
-- clients/js/tidewire.mjs: tidewire.js, the classic script, and tidewire.min.mjs, the module. Both
-- are what servers send to browsers.
--
-- Run:  lua5.4 scripts/make_client.lua               in the top folder of the tree
--
-- Leaves out comments and blanks, and shortens the names of private members. Reads no JavaScript:
-- the source keeps to the rules that its first comment states. tests/lua/js_client_spec.lua checks
-- that the tree has exactly these files.

local SOURCE = "clients/js/tidewire.mjs"

local LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$"

local make_client = {}

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

-- A function that gives each name another one: of one letter.
local function shortener()
  local short, count = {}, 0
  return function(name)
    if not short[name] then
      count = count + 1
      assert(count <= #LETTERS, "there are more private names than letters")
      short[name] = LETTERS:sub(count, count)
    end
    return "#" .. short[name]
  end
end

-- A line's code without what only people need. Blanks that separate words stay.
local function squeeze_code(code, shorten)
  code = code:gsub("/%*.-%*/ ?", ""):gsub("#(%a+)", shorten):gsub("^const ", "let ")
    :gsub("([^%w])const ", "%1let ")
  return (code:gsub(" ?([=+*<>?:,{}()&|;!%-]+) ?", "%1"))
end

-- The same for a line whose texts must stay as they are.
local function squeeze_line(line, shorten)
  local parts, at = {}, 1
  while true do
    local open, quote = line:match("()([\"'`])", at)
    if not open then
      parts[#parts + 1] = squeeze_code(line:sub(at), shorten)
      return table.concat(parts)
    end
    local close = assert(line:find(quote, open + 1, true), "a text that does not end: " .. line)
    parts[#parts + 1] = squeeze_code(line:sub(at, open - 1), shorten)
    parts[#parts + 1] = line:sub(open, close)
    at = close + 1
  end
end

-- The lines of the source, small.
local function squeeze(source)
  local lines, shorten = {}, shortener()
  for line in source:gmatch("([^\n]*)\n") do
    line = line:match("^%s*(.*)$")
    if line ~= "" and not line:find("^//") then
      lines[#lines + 1] = squeeze_line(line, shorten)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local function opening(name)
  return ("// %s -- made from tidewire.mjs, which is to be read and edited.\n"):format(name)
end

--- The files' texts by their paths.
---@return table<string, string>
function make_client.files()
  local module = squeeze(read(SOURCE))
  local body, count = module:gsub("export default [^\n]*\n", ""):gsub("export ", "")
  assert(count == 1, "the source exports one class, and it by default")
  return {
    ["clients/js/tidewire.min.mjs"] = opening("tidewire.min.mjs") .. module,
    ["clients/js/tidewire.js"] = opening("tidewire.js") .. '(()=>{"use strict";\n' .. body
      .. 'globalThis.Tidewire=Tidewire;\nif(typeof exports==="object")exports.Tidewire=Tidewire;\n'
      .. "})();\n",
  }
end

--- Writes them.
function make_client.write()
  for path, text in pairs(make_client.files()) do
    local file <close> = assert(io.open(path, "wb"))
    file:write(text)
  end
end

if arg and arg[0]:find("make_client%.lua$") then make_client.write() end

return make_client

-- sources.lua -- the source as text: files by their base name wherever they stand below src/ and
-- lua/, and the values of its constants. For specs that compare the documentation with the code.

local options = require "tidewire.load.options"

local sources = {}

--- A file of the tree.
---@param path string  from the top folder of the source
---@return string
function sources.read(path)
  local file <close> = assert(io.open(path, "r"), path .. " cannot be read from the top folder")
  return file:read("a")
end

--- Every .c, .h and .lua file below src/ and lua/tidewire: base name -> text.
---@type table<string, string>
sources.files = {}

local pipe = assert(io.popen("find src lua/tidewire -name '*.[ch]' -o -name '*.lua'"))
for path in pipe:lines() do
  local name = path:match("[^/]+$")
  -- where two have one name, both count
  sources.files[name] = (sources.files[name] or "") .. sources.read(path)
end
assert(pipe:close(), "run from the top folder of the source")

--- The text of a file by its base name.
---@param name string  "settings.c"
---@return string
function sources.text(name)
  return assert(sources.files[name], "there is no " .. name .. " below src/ and lua/tidewire")
end

local function without_comments(name, text)
  if name:find("%.lua$") then return (text:gsub("%-%-[^\n]*", "")) end
  return (text:gsub("/%*.-%*/", " "):gsub("//[^\n]*", ""))
end

-- constant -> { [file] = expression }
local constants = {}

local function add(name, file, expression)
  constants[name] = constants[name] or {}
  constants[name][file] = expression
end

for file, text in pairs(sources.files) do
  local code = without_comments(file, text)
  for _, pattern in ipairs({
    "%f[%w_]([%u][%u%d_]+) = ([^,;{}\n]+)", "#define ([%u][%u%d_]+) +([^\n]+)",
    "local ([%u_]+) <const> = ([^,\n]+)",
  }) do
    for name, expression in code:gmatch(pattern) do add(name, file, expression) end
  end
  local two = "local ([%u_]+), ([%u_]+) = ([^,\n]+), ([^,\n]+)"
  for first, second, value, other in code:gmatch(two) do
    add(first, file, value)
    add(second, file, other)
  end
end

local value_of_constant

local function evaluate(expression, file)
  local plain = expression:gsub("%(%l[%l_%d ]*%)", ""):gsub("(%d)[uUlL]+%f[%A]", "%1")
  plain = plain:gsub("%f[%w_]%u[%u%d_]+", function(name)
    return tostring(value_of_constant(name, file))
  end)
  local value = load("return " .. plain)
  return value and value() or error(("%s: %s is no number"):format(file, expression))
end

-- Of several files that have the name the one that is asked for counts, else all must have the same
-- value.
function value_of_constant(name, file)
  local found = assert(constants[name], "the source has no constant " .. name)
  if file and found[file] then return evaluate(found[file], file) end
  local value, where
  for other, expression in pairs(found) do
    local this = evaluate(expression, other)
    if value ~= nil and this ~= value then
      error(("%s is %s in %s and %s in %s: say which file"):format(name, value, where, this, other))
    end
    value, where = this, other
  end
  return value
end

--- A value of the source.
---@param what string  "NAME" or "file.c:NAME", a constant; "option limits.memory", the default of
---                    an option; "file.c: pattern", or "folder/file: pattern", a pattern's capture
---@return any
function sources.value(what)
  local list, option = what:match("^option (%l+)%.([%l_]+)$")
  if list then
    return assert(options.spec(list, option), "there is no " .. what).default
  end
  local file, pattern = what:match("^(%S+): (.+)$")
  if file then
    local text = file:find("/", 1, true) and sources.read(file) or sources.text(file)
    local found = assert(text:match(pattern), ("%s has no %s"):format(file, pattern))
    return math.tointeger(tonumber(found)) or tonumber(found) or found
  end
  local of, name = what:match("^([%w_.]+):([%u%d_]+)$")
  if of then assert(constants[name] and constants[name][of], what .. " is not there") end
  return value_of_constant(name or what, of)
end

return sources

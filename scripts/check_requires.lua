-- Checks the floors of the Lua library against its `require` lines: modules of base/ and load/
-- require only each other, base/ none of load/, and so neither reaches tidewire.core; no circle of
-- modules requires itself.
--
--   lua5.4 scripts/check_requires.lua [TOP]      TOP: the folder that holds lua/tidewire (default: .)
--
-- Reads text and runs no module. Every call of `require` with a name in quotes counts, wherever it
-- stands but in comments and in messages. A new folder of lua/tidewire that must not see all others
-- goes into the table below.

local top = arg[1] or "."

---What the modules of a folder may require of the library. Folders that are not here may require all.
---@type table<string, string[]>
local may_see = {
  base = { "base" },
  load = { "base", "load" },
}

---The modules that C makes.
local of_c = { ["tidewire.core"] = true, ["tidewire.json_c"] = true, ["tidewire.jwt_c"] = true }

local problems = 0
local function problem(file, line, text, ...)
  problems = problems + 1
  print(("%s:%d: %s"):format(file, line, text:format(...)))
end

local function contains(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

---@class Module
---@field name string
---@field file string
---@field folder string|nil                        "load" of lua/tidewire/load/app.lua
---@field requires { name: string, line: integer }[]

---@return Module[] modules  in the order of their paths
local function read_modules()
  local modules = {}
  local pipe = assert(io.popen(("cd '%s' && find lua/tidewire -name '*.lua' | sort"):format(top)))
  for file in pipe:lines() do
    local module = {
      name = file:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."),
      file = file, folder = file:match "^lua/tidewire/([^/]+)/", requires = {},
    }
    local number = 0
    for line in io.lines(top .. "/" .. file) do
      number = number + 1
      line = line:gsub("%-%-.*", ""):gsub("'[^'\"]*\"[^']*'", "''") -- nor what a message quotes
      -- require "x", require("x"), pcall(require, "x"): also under another name, raw_require
      for name in line:gmatch "require[%s(,]+[\"'](tidewire[%w_.]*)[\"']" do
        table.insert(module.requires, { name = name, line = number })
      end
    end
    modules[#modules + 1] = module
  end
  assert(pipe:close() and #modules > 0, "lua/tidewire could not be listed")
  return modules
end

local modules = read_modules()
local by_name = {}
for _, module in ipairs(modules) do by_name[module.name] = module end

for _, module in ipairs(modules) do
  local allowed = may_see[module.folder]
  for _, required in ipairs(module.requires) do
    local other = by_name[required.name]
    if not other and not of_c[required.name] then
      problem(module.file, required.line, 'require "%s": there is no such module', required.name)
    elseif allowed and not (other and contains(allowed, other.folder)) then
      problem(module.file, required.line, 'require "%s": modules of %s/ may require those of %s/ only', required.name,
        module.folder, table.concat(allowed, "/, "))
    end
  end
end

local state = {}
local function visit(module, trail)
  state[module.name] = "open"
  trail[#trail + 1] = module.name
  for _, required in ipairs(module.requires) do
    if state[required.name] == "open" then
      problem(module.file, required.line, 'require "%s" closes a circle: %s -> %s', required.name,
        table.concat(trail, " -> "), required.name)
    elseif by_name[required.name] and not state[required.name] then
      visit(by_name[required.name], trail)
    end
  end
  trail[#trail] = nil
  state[module.name] = "done"
end
for _, module in ipairs(modules) do
  if not state[module.name] then visit(module, {}) end
end

if problems > 0 then
  print(("check_requires: %d problem%s"):format(problems, problems == 1 and "" or "s"))
  os.exit(1)
end

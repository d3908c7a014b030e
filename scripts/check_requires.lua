-- Checks the layers of the Lua library against its `require` lines: modules of base/, load/, cli/
-- and watch/ require only those of their folder and of base/, so none reaches tidewire.core; and no
-- modules require each other.
--
--   lua5.4 scripts/check_requires.lua [TOP]      TOP: the top of the source tree (default: .)
--
-- Reads text and runs no module. Every call of `require` with a name in quotes counts, except in
-- comments and in messages. A folder of lua/tidewire that must not see all others goes into the
-- table below.

package.path = arg[0]:match "^.*/" .. "?.lua;" .. package.path
local checking = require "checking"

---What the modules of a folder may require of the library. Other folders may require all.
---@type table<string, string[]>
local may_see = {
  base = { "base" },
  load = { "base", "load" },
  cli = { "base", "cli" },
  watch = { "watch" },
}

---The modules that C makes.
local of_c = { ["tidewire.core"] = true, ["tidewire.json_c"] = true, ["tidewire.jwt_c"] = true }

---A module that the build makes, of the files in lua/templates.
local TEMPLATES = "tidewire.templates"

---The names of modules that a line of code requires: require "x", require("x"),
---pcall(require, "x"), raw_require "x".
local function required(line)
  line = line:gsub("%-%-.*", ""):gsub("'[^'\"]*\"[^']*'", "''") -- nor what a message quotes
  return line:gmatch "require[%s(,]+[\"'](tidewire[%w_.]*)[\"']"
end

---module -> its file, its folder ("load" of lua/tidewire/load/app.lua), what it requires
local names, files, folders, requires = {}, {}, {}, {}
for _, file in ipairs(checking.list("lua/tidewire", "*.lua")) do
  local module = file:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  names[#names + 1] = module
  files[module], folders[module] = file, file:match "^lua/tidewire/([^/]+)/"
  requires[module] = {}
  local number = 0
  for line in checking.read(file):gmatch "([^\n]*)\n?" do
    number = number + 1
    for name in required(line) do
      table.insert(requires[module], { name = name, line = number })
    end
  end
end

local function problem(module, link, text, ...)
  local where = ("%s:%d"):format(files[module], link.line)
  checking.problem(where, 'require "%s"' .. text, link.name, ...)
end

for _, module in ipairs(names) do
  local allowed = may_see[folders[module]]
  for _, link in ipairs(requires[module]) do
    local exists = files[link.name] ~= nil
    local is_allowed = not allowed or link.name == TEMPLATES
      or exists and checking.contains(allowed, folders[link.name])
    if link.name ~= TEMPLATES and not exists and not of_c[link.name] then
      problem(module, link, ": there is no such module")
    elseif not is_allowed then
      problem(module, link, ": modules of %s/ may require those of %s/ only", folders[module],
        table.concat(allowed, "/, "))
    end
  end
end

checking.circles(names, requires, function(module, link, circle)
  problem(module, link, " closes a circle: %s", circle)
end)

checking.finish()

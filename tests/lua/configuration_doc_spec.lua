-- configuration_doc_spec.lua -- docs/configuration.md names all options, with their defaults.

local environment = require "tidewire.load.environment"
local options = require "tidewire.load.options"

local function read(path)
  local handle <close> = assert(io.open(path, "r"), "run from the top folder of the source")
  return handle:read("a")
end

local text = read "docs/configuration.md"

local function assert_named(name)
  assert.is_truthy(text:find("`" .. name .. "`", 1, true),
    "docs/configuration.md does not name `" .. name .. "`")
end

local UNITS = { K = 1 << 10, M = 1 << 20 }

-- The default in a row of a table: `name` | `default`
local function documented_default(name)
  local code = text:match("\n| `" .. name .. "` | `([^`]*)` |")
  local value = code and load("return " .. code)()
  local digits, unit = tostring(value):match("^(%d+)([KM])$")
  return digits and math.tointeger(digits) * UNITS[unit] or value
end

describe("docs/configuration.md", function()
  for list_name, list in pairs(options.lists) do
    it("names every option of the list " .. list_name, function()
      for _, spec in ipairs(list) do
        if list_name == "static" then
          assert.is_truthy(text:find("{ static = ", 1, true))
        else
          assert_named(spec.name)
        end
      end
    end)

    it("tells the defaults of the list " .. list_name, function()
      for _, spec in ipairs(list) do
        local default = type(spec.default) == "table" and spec.default[1] or spec.default -- a list
        if default ~= nil then
          assert.same(default, documented_default(spec.name), spec.name)
        end
      end
    end)
  end

  it("names every environment variable", function()
    for name in pairs(environment.of_options) do
      assert_named(name)
    end
    for _, name in ipairs(environment.of_the_program) do
      assert_named(name)
    end
  end)

  it("names no environment variable that there is not", function()
    local known = {}
    for _, name in ipairs(environment.of_the_program) do
      known[name] = true
    end
    for name in text:gmatch("TIDEWIRE_[%u_]+") do
      assert.is_truthy(known[name] or environment.of_options[name]
        or name == "TIDEWIRE_TEST_", name)
    end
  end)
end)

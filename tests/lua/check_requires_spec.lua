-- check_requires_spec.lua -- scripts/check_requires.lua finds each kind of wrong `require` in the
-- Lua library.
--
-- Each case is a small library in a temporary folder, read by the real check.

local check_tree = require "support.check_tree"

---Runs the check on a library of {path below lua/tidewire = text}.
---@param library table<string, string>
---@return boolean good
---@return string output
local function check(library)
  local files = {}
  for path, text in pairs(library) do files["lua/tidewire/" .. path] = text .. "\n" end
  return check_tree("scripts/check_requires.lua", files)
end

---A library with every kind of `require` that is allowed.
local function right_library()
  return {
    ["init.lua"] =
      'local core = require "tidewire.core"\nlocal http = require "tidewire.http.client"',
    ["http/client.lua"] =
      'local core = require "tidewire.core"\nlocal json = require "tidewire.json"',
    ["json.lua"] =
      'local c = require("tidewire.json_c")\nlocal suggest = require "tidewire.base.suggest"',
    ["reload.lua"] = 'local app = require "tidewire.load.app"\nlocal tw = require "tidewire"',
    ["load/app.lua"] = 'local options = require "tidewire.load.options"',
    ["load/options.lua"] = 'local suggest = require "tidewire.base.suggest"',
    ["base/suggest.lua"] = 'return "nothing"',
  }
end

describe("scripts/check_requires.lua", function()
  it("accepts a library whose requires point down", function()
    local good, output = check(right_library())
    assert.equal("", output)
    assert.is_true(good)
  end)

  it("does not take a comment or a message for code", function()
    local library = right_library()
    library["load/options.lua"] = '-- require "tidewire.core"\n'
      .. "local s = 'local tw = require \"tidewire\" is missing'"
    local good, output = check(library)
    assert.equal("", output)
    assert.is_true(good)
  end)

  local wrong = {
    { "a module of load/ that requires the core", "load/options.lua",
      'local core = require "tidewire.core"',
      'lua/tidewire/load/options.lua:1: require "tidewire.core": '
        .. "modules of load/ may require those of base/, load/ only" },
    { "one that requires a module that does", "load/app.lua",
      '\nlocal json = require "tidewire.json"',
      'load/app.lua:2: require "tidewire.json": modules of load/ may' },
    { "one that tries whether it can", "load/app.lua",
      'local ok, core = pcall(require, "tidewire.core")',
      'load/app.lua:1: require "tidewire.core": modules of load/ may' },
    { "one that requires it with parentheses, within a function", "load/app.lua",
      "local function f()\n  return require('tidewire.core')\nend",
      'load/app.lua:2: require "tidewire.core": modules of load/ may' },
    { "one that requires the library", "load/app.lua", 'local tw = require "tidewire"',
      'load/app.lua:1: require "tidewire": modules of load/ may' },
    { "a module of base/ that requires one of load/", "base/suggest.lua",
      'local app = require "tidewire.load.app"',
      'require "tidewire.load.app": modules of base/ may require those of base/ only' },
    { "a module that is not there", "json.lua", 'local suggest = require "tidewire.suggest"',
      'json.lua:1: require "tidewire.suggest": there is no such module' },
    { "modules that require each other", "load/options.lua",
      'local app = require "tidewire.load.app"',
      "closes a circle: tidewire.load.app -> tidewire.load.options -> tidewire.load.app" },
  }
  for _, case in ipairs(wrong) do
    local name, path, text, expected = table.unpack(case)
    it("finds " .. name, function()
      local library = right_library()
      library[path] = text
      local good, output = check(library)
      assert.is_false(good)
      assert.matches(expected, output, 1, true)
    end)
  end
end)

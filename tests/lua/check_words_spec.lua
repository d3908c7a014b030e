-- check_words_spec.lua -- scripts/check_words.lua finds words that the project does not use. Each
-- case is one file in a temporary folder, read by the real check.

local check_tree = require "support.check_tree"

---Runs the check on a tree with one file.
---@param name string
---@param text string
---@return boolean good
---@return string output
local function check(name, text) return check_tree("scripts/check_words.lua", { [name] = text }) end

describe("scripts/check_words.lua", function()
  for what, case in pairs({
    ["a word in a sentence"] = { "docs/a.md", "# A\n\nA door.\n", 'docs/a.md:3: "door": say' },
    ["its plural, at the beginning of a line"] = {
      "SECURITY.md", "Doors.\n", 'SECURITY.md:1: "doors"',
    },
    ["a part of a name"] = {
      "cmake/a.cmake", "# A.\nset(find_seat 1)\n", 'cmake/a.cmake:2: "seat"',
    },
    ["a phrase"] = { "docs/a.md", "The hub is told.\n", 'docs/a.md:1: "is told": say' },
    ["the name of a file"] = { "docs/takeover.md", "# A\n", 'docs/takeover.md:0: "takeover"' },
  }) do
    it("finds " .. what, function()
      local good, output = check(case[1], case[2])
      assert.is_false(good)
      assert.is_truthy(output:find(case[3], 1, true), output)
    end)
  end

  for what, case in pairs({
    ["a word within another"] = { "docs/a.md", "The earlier, outdoor one.\n" },
    ["a test"] = { "tests/lua/a_spec.lua", "-- a door\n" },
    ["an example"] = { "examples/a/app.lua", "-- a door\n" },
  }) do
    it("accepts " .. what, function()
      local good, output = check(case[1], case[2])
      assert.equal("", output)
      assert.is_true(good)
    end)
  end
end)

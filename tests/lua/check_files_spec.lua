-- check_files_spec.lua -- scripts/check_files.lua finds each thing that a file must not have. Each
-- case is one file in a temporary folder, read by the real check.

local long = ("word "):rep(22) -- 110 columns

local check_tree = require "support.check_tree"

---Runs the check on a tree with one file.
---@param name string
---@param text string
---@return boolean good
---@return string output
local function check(name, text) return check_tree("scripts/check_files.lua", { [name] = text }) end

describe("scripts/check_files.lua", function()
  for what, case in pairs({
    ["a file that does not say what it is for"] = {
      "a.lua", "return 1\n", "a.lua:1: opens without",
    },
    ["the name of another file"] = { "a.c", "/* b.c -- nothing. */\n", "a.c:1: opens as b.c" },
    ["blanks at the end of a line"] = { "a.c", "/* a. */ \n", "a.c:1: blanks at the end" },
    ["a tab"] = { "a.c", "/* a. */\n\tint a;\n", "a.c:2: a tab" },
    ["a last line that does not end"] = { "a.c", "/* a. */\nint a;", "a.c:2: the last line" },
    ["a long comment"] = { "a.lua", "-- " .. long .. ".\n", "a.lua:1: 114 columns; there are 100" },
    ["a long paragraph"] = { "a.md", "# A\n\n" .. long .. ".\n", "a.md:3: 111 columns" },
    ["a long line of a shell script"] = { "a", "#!/bin/sh\n# a.\n: " .. long .. ".\n", "a:3: 113" },
  }) do
    it("finds " .. what, function()
      local good, output = check(case[1], case[2])
      assert.is_false(good)
      assert.is_truthy(output:find(case[3], 1, true), output)
    end)
  end

  for what, case in pairs({
    ["a file as it should be"] = { "a.c", "/* a.c -- nothing. */\nint a;\n" },
    ["a line of 100 columns, whatever its bytes"] = { "a.lua", "-- " .. ("é "):rep(48) .. "é\n" },
    ["a table of Markdown"] = { "a.md", "| " .. long .. "|\n" },
    ["code in Markdown"] = { "a.md", "```\n" .. long .. ".\n```\n" },
    ["code that stands apart in Markdown"] = { "a.md", "    " .. long .. ".\n" },
    ["a word that cannot be broken"] = { "a.md", "* <https://" .. ("x"):rep(110) .. ">\n" },
  }) do
    it("accepts " .. what, function()
      local good, output = check(case[1], case[2])
      assert.equal("", output)
      assert.is_true(good)
    end)
  end
end)

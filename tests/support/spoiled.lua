-- spoiled.lua -- runs a check of the source (scripts/check_*.lua) on a copy of the tree with one
-- mistake.

local assert = require "luassert"
local busted = require "busted"

-- A sanitizer that is loaded for the sake of C modules has no business in other programs.
local function shell(command)
  local pipe = assert(io.popen("env -u LD_PRELOAD sh -c '" .. command .. "' 2>&1"))
  local output = pipe:read "a"
  return pipe:close() == true, output
end

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

--- Runs the check on the copy as it is, which must be good, and once for each case, whose fault it
--- must name.
---@param script string  "scripts/check_api.lua"
---@param copy string    the command that makes the copy, with TOP for its folder
---@param cases table[]  what, file, Lua pattern, replacement, what must be said
return function(script, copy, cases)
  local top

  busted.setup(function()
    top = os.tmpname()
    os.remove(top)
    assert(shell((copy:gsub("TOP", top))))
  end)

  busted.teardown(function() assert(shell("rm -r " .. top)) end)

  busted.it("is content with the tree as it is", function()
    local good, output = shell("lua5.4 " .. script .. " " .. top)
    assert.equal("", output)
    assert.is_true(good)
  end)

  for _, case in ipairs(cases) do
    local what, file, pattern, replacement, expected = table.unpack(case)
    busted.it("sees " .. what, function()
      local path = top .. "/" .. file
      local before = read(path)
      local after, count = before:gsub(pattern, replacement)
      assert.is_true(count > 0, "nothing to spoil in " .. file)
      write(path, after)
      local good, output = shell("lua5.4 " .. script .. " " .. top)
      write(path, before)
      assert.is_truthy(output:find(expected, 1, true), output)
      assert.is_false(good)
    end)
  end
end

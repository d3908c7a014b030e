-- global_writes_spec.lua -- where functions of a chunk write globals.

local global_writes = require "tidewire.load.global_writes"

local function found(text)
  local list = {}
  for i, write in ipairs(global_writes.find(assert(load(text)))) do
    list[i] = write.line .. ":" .. write.name
  end
  return table.concat(list, " ")
end

describe("writes to globals", function()
  it("in functions are found with their lines, however they are written", function()
    assert.equal("2:a 3:b 3:c 4:d 6:e 8:g 9:f", found [[
return function(x)
  a = x
  b, c = x, 1
  d = d .. x
  if x then
    e = nil end
  f = function() return function()
    g = { x } end
  end
end]])
  end)

  it("are function names, too", function()
    assert.equal("2:helper", found "return function()\n  function helper() end\nend")
  end)

  it("of the top level are none", function()
    assert.equal("", found "a = 1\nfunction b() end\nlocal c = 2\nfor i = 1, 2 do d = i end")
  end)

  it("are none where the name is local, a field, or of another environment", function()
    assert.equal("", found [[
local a, t = 1, {}
return function(b)
  local c
  a, b, c, t.d, t["e"], _G.f = 1, 2, 3, 4, 5, 6
  local function g() c = 1 end
  local _ENV = { x = 1 }
  h = 1
  return g, function() i = 2 end, function(_ENV) j = 3 end
end]])
  end)

  it("are found in long functions, behind constants of all kinds, and far down", function()
    local lines = { "return function()" }
    for i = 1, 300 do
      lines[#lines + 1] = ("  local _ = { %d, %d.5, true, false, nil, 'text %d', %q }")
        :format(i << 40, i, i, ("x"):rep(100))
      lines[#lines + 1] = i % 100 == 0 and "end, function()" or ""
    end
    lines[#lines + 1] = ("\n"):rep(1000) .. "  found = 1\n  end"
    local text = table.concat(lines, "\n")
    local line = select(2, text:gsub("\n", "\n"))
    assert.equal(line .. ":found", found(text))
  end)

  it("are none in a value that is no chunk", function()
    assert.same({}, global_writes.find(print))
    assert.same({}, global_writes.find(assert(load(""))))
  end)
end)

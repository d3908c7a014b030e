-- source_lines_spec.lua -- finding the line of a key in a Lua file's text.

local source_lines = require "tidewire.load.source_lines"

local function line(text, ...)
  return source_lines.read(text):find({ ... })
end

describe("the line of a key", function()
  it("is found in the table that a file returns", function()
    local text = 'return {\n  a = 1,\n  ["b c"] = 2; d = 3,\n\n  e\n  = 4 }'
    assert.equal(2, line(text, "a"))
    assert.equal(3, line(text, "b c"))
    assert.equal(3, line(text, "d"))
    assert.equal(6, line(text, "e"))
    assert.is_nil(line(text, "f"))
  end)

  it("is not found in comments and strings", function()
    local text = [==[
-- a = 1
--[[ a = 2
]] local s = "a = 3 -- \" a = 4" local t = [=[
{ a = 5 ]] }
]=]
return {
  a = 7, --[=[ ]] ]=]
}
]==]
    assert.equal(7, line(text, "a"))
  end)

  it("is that of the right block, where two have the key", function()
    local text = [[
local pings = { ping_period = 1 }
return {
  endpoints = {
    ["/a"] = { ping_period = 2,
      handle_message = function(conn) conn:send { ping_period = 5 } end },
    ["/b"] = {
      on_start = function(conn, ping_period)
        local x, ping_period = 1, 2
        if x == ping_period then while true do repeat x = 1 until x end end
        return { ping_period = 10 }
      end,
      ping_period = 12,
    },
    ["/c"] = pings,
  },
  defaults = { ping_period = 16 },
}]]
    assert.equal(4, line(text, "endpoints", "/a", "ping_period"))
    assert.equal(12, line(text, "endpoints", "/b", "ping_period"))
    assert.equal(1, line(text, "endpoints", "/c", "ping_period"))
    assert.equal(16, line(text, "defaults", "ping_period"))
    assert.equal(14, line(text, "endpoints", "/c"))
    assert.is_nil(line(text, "ping_period"))
  end)

  it("is the only one in the file, where it cannot be followed", function()
    local text = "local function make(t) return t end\nreturn make {\n  endpoints = {\n    a = "
      .. "make { x = 1 } } }"
    assert.equal(4, line(text, "endpoints", "/a", "x"))
  end)

  it("is found in a table that is filled piece by piece", function()
    local text = [[
local handler = {}
handler.ping_perod = 3
handler["pong perod"] = 4
function handler.on_opne(conn) end
function handler:on_colse() end
if handler.ping_perod == 3 then print(handler.on_opne(1)) end
return handler]]
    assert.equal(2, line(text, "ping_perod"))
    assert.equal(3, line(text, "pong perod"))
    assert.equal(4, line(text, "on_opne"))
    assert.equal(5, line(text, "on_colse"))
  end)

  it("is found in a returned variable", function()
    local text = "local t = { x = 1 }\nlocal app = {\n  x = 3 }\nreturn app\n"
    assert.equal(3, line(text, "x"))
  end)

  it("is not guessed", function()
    assert.is_nil(line("local t = { x = 1 }\nlocal u = { x = 2 }\nreturn merge(t, u)", "x"))
    assert.is_nil(line("local t = { x = 1 }\ndo local t = { x = 2 } end\nreturn { a = t }",
      "a", "x"))
  end)

  it("survives any text", function()
    local broken = {
      "", "{", "}", "return {", '"', "[[", "--[[", "= {", "a = ", "#!/x", "]] end", "\\", "{ [",
    }
    for _, text in ipairs(broken) do
      assert.is_nil(line(text, "nothing"))
    end
    assert.equal(2, line("#!/usr/bin/env tidewire\nreturn { x = 1 }", "x"))
  end)
end)

-- inspect_spec.lua -- tw.inspect: any value as text for people; bounded, without addresses, and
-- without errors.

local fake_core = require "support.fake_core"

describe("tw.inspect", function()
  local world, inspect, tw

  before_each(function()
    world = fake_core:install()
    tw = require "tidewire"
    inspect = tw.inspect
  end)
  after_each(function() world:uninstall() end)

  it("writes plain values as Lua would", function()
    for text, value in pairs {
      ["1"] = 1, ["1.5"] = 1.5, ["true"] = true, ['"text"'] = "text", ['""'] = "",
      ['"a\\n\\"b\\"\\\\\\0"'] = 'a\n"b"\\\0',
      ['"grün"'] = "grün", ['"\\255"'] = "\xff",
    } do
      assert.equal(text, inspect(value))
    end
    assert.equal("nil", inspect(nil))
  end)

  it("writes tables with their keys in order", function()
    assert.equal("{}", inspect {})
    assert.equal("{ 1, 2, 3 }", inspect { 1, 2, 3 })
    assert.equal('{ 1, [3] = 3, a = "x", ["b c"] = {}, ["end"] = 1, [true] = false }',
      inspect { 1, [3] = 3, a = "x", ["b c"] = {}, ["end"] = 1, [true] = false })
    assert.equal('{ user = { name = "ada", roles = { "admin" } } }',
      inspect { user = { name = "ada", roles = { "admin" } } })
  end)

  it("writes a line for each field where one line is too long", function()
    local long = ("x"):rep(70)
    assert.equal(('{\n  a = "%s",\n  b = {\n    "%s",\n    "%s"\n  }\n}'):format(long, long, long),
      inspect { a = long, b = { long, long } })
  end)

  it("can be read by Lua where all of it is plain", function()
    local value = {
      1, 2, { deep = { er = "x\0\n\"\\\200" } }, [10] = true, text = ("long "):rep(100),
      ["a b"] = -0.5,
    }
    assert.same(value, assert(load("return " .. inspect(value)))())
  end)

  it("shows no address", function()
    local thing = setmetatable({ 1 }, { __tostring = function() return "a thing" end })
    local broken = setmetatable({ 1 }, { __tostring = function() error("no") end })
    local numbered = setmetatable({ 1 }, { __tostring = function(self) return tostring(print) end })
    assert.equal("{ a thing, { 1 }, { 1 } }", inspect { thing, broken, numbered })
    for _, value in ipairs { print, function() end, coroutine.create(print), io.stdout } do
      assert.is_nil(inspect(value):find("0x", 1, true), inspect(value))
    end
    assert.matches("^<function .*inspect_spec.lua:%d+>$", inspect(function() end))
    assert.equal("<function of C>", inspect(print))
  end)

  it("comes to an end with tables in themselves, deep, large and many", function()
    local loop = { name = "loop" }
    loop.again = loop
    assert.equal('{ again = <a table that it is in>, name = "loop" }', inspect(loop))
    local deep = {}
    for _ = 1, 1000 do deep = { deep } end
    assert.matches("{ … }", inspect(deep), 1, true)
    local large, many = {}, {}
    for i = 1, 100000 do large[i] = i many["key " .. i] = {} end
    for _, value in ipairs {
      large, many, { many, many, { large } }, ("x"):rep(1e6), ("ü"):rep(1e5),
    } do
      local text = inspect(value)
      assert.is_true(#text < 50000, #text)
      assert.is_truthy(text:find("…", 1, true))
      assert.is_truthy(utf8.len(text))
    end
    local wide = {}
    for i = 1, 500 do wide[i] = {} for j = 1, 500 do wide[i][j] = {} end end
    assert.is_true(#inspect(wide) < 50000)
  end)

  it("asks no metamethod but __tostring", function()
    local quiet = setmetatable({ 1 }, {
      __index = error, __len = error, __pairs = error, __eq = error, __lt = error, __concat = error,
    })
    assert.equal("{ 1 }", inspect(quiet))
  end)

  it("stands in for JSON in the log", function()
    tw.log.info({ b = 1, a = { "x" } }, { table = { 1, 2 }, odd = { print, [10] = 1 }, f = print })
    local fields = world.logs[1].fields
    assert.equal('{"a":["x"],"b":1}',
      fields.message:gsub('{"b":1,"a":%["x"%]}', '{"a":["x"],"b":1}'))
    assert.equal("[1,2]", fields.table)
    assert.equal("{ <function of C>, [10] = 1 }", fields.odd)
    assert.equal("<function of C>", fields.f)
  end)
end)

describe("tw.now and tw.time", function()
  it("are the core's clocks", function()
    local world = fake_core:install()
    assert.equal(world:now(), require("tidewire").now())
    assert.equal(1.7e9 + world:now(), require("tidewire").time())
    world:uninstall()
  end)
end)

-- log_spec.lua -- tw.log: the contents of a script's line in the server's log.

local fake_core = require "support.fake_core"

local world, log

before_each(function()
  world = fake_core:install()
  log = require "tidewire.log"
end)

after_each(function() world:uninstall() end)

--- The fields of a line with these.
local function fields_of(fields)
  log.info("message", fields)
  return world.logs[#world.logs].fields
end

local function keys_of(fields)
  log.info("message", fields)
  return world.logs[#world.logs].keys
end

describe("tw.log", function()
  it("has a function for each level", function()
    for i, level in ipairs { "debug", "info", "warn", "error" } do
      log[level]("hello")
      assert.equal(level, world.logs[i].level)
    end
  end)

  it("writes the message into a line of the event script", function()
    log.info("hello world")
    assert.equal("script", world.logs[1].event)
    assert.same({ message = "hello world" }, world.logs[1].fields)
  end)

  it("names the connection whose hook runs, and none elsewhere", function()
    world.events.message = function() log.info("inside") end
    world:event("message", 0x2a)
    log.info("outside")
    assert.equal(0x2a, world.logs[1].conn)
    assert.is_nil(world.logs[2].conn)
  end)

  it("takes a message of any type", function()
    for _, message in ipairs { 42, 1.5, true, false } do
      log.info(message)
      assert.equal(message, world.logs[#world.logs].fields.message)
    end
    log.info(nil)
    assert.equal("nil", world.logs[#world.logs].fields.message)
    log.info(setmetatable({}, { __tostring = function() return "a thing" end }))
    assert.equal("a thing", world.logs[#world.logs].fields.message)
  end)

  it("writes no line below the program's level", function()
    world.log_level = 2
    log.debug("a")
    log.info("b")
    log.warn("c")
    log.error("d")
    assert.same({ "warn", "error" }, { world.logs[1].level, world.logs[2].level })
    assert.equal(2, #world.logs)
  end)

  it("makes no text of values that are not logged", function()
    world.log_level = 2
    local touched = false
    local value = setmetatable({}, { __tostring = function() touched = true return "" end })
    log.info(value, { value = value })
    assert.is_false(touched)
  end)

  it("throws at its caller for fields that are no table, written or not", function()
    world.log_level = 2
    for _, level in ipairs { "debug", "info", "warn", "error" } do
      local line = debug.getinfo(1, "l").currentline + 1
      local ok, message = pcall(function() log[level]("hello", "fields") end)
      assert.is_false(ok)
      assert.matches(("log_spec%%.lua:%d: tw.log.%s: fields must be a table, got string$")
        :format(line, level), message)
    end
  end)
end)

describe("a field of tw.log", function()
  it("of a plain type stays as it is", function()
    local got = fields_of {
      text = "a b", integer = 7, float = 0.5, whole = 1.0, yes = true, no = false,
    }
    assert.same({ "a b", 7, 0.5, true, false },
      { got.text, got.integer, got.float, got.yes, got.no })
    assert.equal("integer", math.type(got.integer))
    assert.equal("float", math.type(got.whole))
  end)

  it("of any other type is written as text, a table as JSON", function()
    local list = { 1, { name = "ada" } }
    local got = fields_of { list = list, f = print, null = require("tidewire.json").null }
    assert.same({
      list = '[1,{"name":"ada"}]', f = "<function of C>", null = "null", message = "message",
    }, got)
  end)

  it("is written as its __tostring says", function()
    assert.equal("ada",
      fields_of({ user = setmetatable({}, { __tostring = function() return "ada" end }) }).user)
  end)

  it("whose __tostring fails does not keep the line from being written", function()
    local got =
      fields_of { good = 1, bad = setmetatable({}, { __tostring = function() error("no") end }) }
    assert.equal(1, got.good)
    assert.is_string(got.bad)
  end)

  it("may be text of any bytes", function()
    assert.equal("a\nb\0\xff", fields_of({ text = "a\nb\0\xff" }).text)
  end)

  it("comes behind the message, sorted by name", function()
    assert.same({ "message", "a", "b", "c", "d" }, keys_of { d = 1, b = 2, a = 3, c = 4 })
  end)

  it("may have any key", function()
    local got = fields_of { "one", [2.5] = "half", [true] = "yes" }
    assert.same({ message = "message", ["1"] = "one", ["2.5"] = "half", ["true"] = "yes" }, got)
  end)

  it("that is the line's own already does not take its place", function()
    local got = keys_of { message = 1, level = 2, time = 3, worker = 4, event = 5, conn = 6 }
    local seen = {}
    for _, key in ipairs(got) do
      assert.is_nil(seen[key])
      seen[key] = true
    end
    assert.equal("message", fields_of({ message = "another" }).message)
    for _, key in ipairs { "level", "time", "worker", "event", "conn" } do
      assert.is_nil(seen[key])
    end
  end)

  it("with a key that would break the line is written under a harmless one", function()
    assert.same({ "message", "a_b_c_d__e_" }, keys_of { ["a b\nc=d\"\\e\0"] = 1 })
  end)

  it("never has a key that is empty or has other signs than letters, digits and _ . -", function()
    for _, key in ipairs { "", " ", "=", "\n", "é", "a\rb", "\27[1m", "plain-key_1.x" } do
      assert.matches("^[%w_.-]+$", keys_of({ [key] = 1 })[2])
    end
  end)

  it("is not lost beside one whose key differs only in such characters", function()
    local got = keys_of { ["a b"] = 1, ["a=b"] = 2 }
    assert.equal(3, #got)
    assert.are_not.equal(got[2], got[3])
  end)
end)

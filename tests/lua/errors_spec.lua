-- errors_spec.lua -- errors of scripts: the error that on_error gets, its decision, close codes,
-- and the log.

local fake_app = require "support.fake_app"

local world

before_each(function() world = fake_app:install() end)
after_each(function() world:uninstall() end)

--- Serves a handler whose on_error records its errors and returns what `answer` returns. Returns a
--- client and the errors.
local function connect(handler, answer)
  local errors = {}
  handler.on_error = handler.on_error or function(_, err)
    table.insert(errors, err)
    return answer
  end
  world:serve(handler)
  return world:connect(), errors
end

--- The error of a handle_message that throws that value.
local function error_of(value)
  local conn, errors = connect { handle_message = function() error(value, 0) end }
  world:receive(conn, "x")
  assert.equal(1, #errors)
  return errors[1]
end

local function throw()
  error("out of tea")
end

describe("the error that on_error gets", function()
  it("comes with the connection", function()
    local got
    local conn =
      connect { handle_message = throw, on_error = function(...) got = table.pack(...) end }
    world:receive(conn, "x")
    assert.equal(2, got.n)
    assert.equal(conn, got[1])
    assert.is_table(got[2])
  end)

  it("has kind, hook, and a message with file and line", function()
    local conn, errors = connect { handle_message = throw }
    world:receive(conn, "x")
    assert.equal("script", errors[1].kind)
    assert.equal("handle_message", errors[1].hook)
    assert.matches("errors_spec%.lua:%d+: out of tea$", errors[1].message)
  end)

  it("has a traceback of where it was thrown", function()
    local conn, errors = connect { handle_message = function() throw() end }
    world:receive(conn, "x")
    local line = debug.getinfo(throw, "S").linedefined + 1
    assert.matches("^stack traceback:\n", errors[1].traceback)
    assert.matches(("errors_spec%%.lua:%d: in upvalue 'throw'"):format(line), errors[1].traceback)
  end)

  it("reads well as text", function()
    assert.equal("handle_message: out of tea", tostring(error_of("out of tea")))
  end)

  it("has what was thrown, as it was", function()
    local value = { code = 7 }
    assert.equal(value, error_of(value).value)
    assert.equal(7, error_of(7).value)
  end)

  it("names the hook that threw", function()
    for event, hook in pairs { ping = "send_ping", timeout = "on_timeout", drained = "on_drain" } do
      local conn, errors = connect { [hook] = throw }
      world:hook(event, conn)
      assert.equal(hook, errors[1].hook)
    end
  end)

  it("has the kind memory for exhausted memory", function()
    local conn, errors = connect {}
    world:event("failed", world:id(conn), conn, "handle_message", "memory",
      "not enough memory", "")
    assert.equal("memory", errors[1].kind)
  end)

  it("stays the same when a script throws it on", function()
    local conn, errors
    conn, errors = connect { handle_message = function() error(errors[1] or "first") end }
    world:receive(conn, "x")
    world:receive(conn, "x")
    assert.equal(errors[1], errors[2])
  end)
end)

describe("an error's message", function()
  it("of a number is the number", function()
    assert.equal("7", error_of(7).message)
  end)

  it("of nil is nil", function()
    local err = error_of(nil)
    assert.equal("nil", err.message)
    assert.is_nil(err.value)
    assert.equal("handle_message: nil", tostring(err))
  end)

  it("of a table is what its __tostring says", function()
    assert.equal("tea is out",
      error_of(setmetatable({}, { __tostring = function() return "tea is out" end })).message)
  end)

  it("of a table shows its fields, and never an address", function()
    assert.equal('table: { code = 5, why = "full" }', error_of({ code = 5, why = "full" }).message)
    assert.matches("^<function .*errors_spec%.lua:%d+>$", error_of(throw).message)
    assert.equal("<thread>", error_of(coroutine.create(throw)).message)
  end)

  it("says that a value whose __tostring fails cannot be shown", function()
    for _, tostring_of in ipairs { throw, function() return {} end, function() end } do
      local value = setmetatable({}, { __tostring = tostring_of })
      local err = error_of(value)
      assert.equal("an error value that cannot be shown", err.message)
      assert.equal(value, err.value)
    end
  end)
end)

describe("without on_error", function()
  local function connect_without(handler)
    world:serve(handler)
    return world:connect()
  end

  it("closes with 1011 for a thrown value, without it in the reason", function()
    local conn = connect_without { handle_message = throw }
    world:receive(conn, "x")
    assert.same({ 1011, "script error" }, { world:close_of(conn) })
  end)

  it("closes with 1011 for nil and an error", function()
    local conn = connect_without { handle_message = function() return nil, "no tea" end }
    world:receive(conn, "x")
    assert.same({ 1011, "script error" }, { world:close_of(conn) })
  end)

  it("what cannot be decoded closes with 1007", function()
    local conn = connect_without { codec = "json", handle_message = print }
    world:receive(conn, "nonsense")
    assert.same({ 1007, "message could not be decoded" }, { world:close_of(conn) })
  end)

  it("other connections are not touched", function()
    local conn = connect_without { handle_message = throw }
    local other = world:connect()
    world:receive(conn, "x")
    assert.is_true(other:is_open())
  end)
end)

describe("on_error", function()
  it("that answers true closes with 1011, or 1007 for what cannot be decoded", function()
    local conn = connect({ handle_message = throw }, true)
    world:receive(conn, "x")
    assert.equal(1011, (world:close_of(conn)))
    conn = connect({ codec = "json", handle_message = print }, true)
    world:receive(conn, "nonsense")
    assert.equal(1007, (world:close_of(conn)))
  end)

  it("that answers any other truth closes too", function()
    local conn = connect({ handle_message = throw }, "yes")
    world:receive(conn, "x")
    assert.is_false(conn:is_open())
  end)

  it("that answers false or nothing lets the connection go on", function()
    for _, answer in ipairs { { false }, {} } do
      local calls = 0
      local conn = connect({
        handle_message = function(_, message)
          calls = calls + 1
          if message == "bad" then error("bad") end
        end,
      }, answer[1])
      world:receive(conn, "bad")
      world:receive(conn, "good")
      assert.is_true(conn:is_open())
      assert.equal(2, calls)
    end
  end)

  it("that closes with a code of its own is obeyed, whatever it answers", function()
    for _, answer in ipairs { true, false } do
      local conn = connect {
        handle_message = throw,
        on_error = function(conn)
          conn:close(4000, "enough")
          return answer
        end,
      }
      world:receive(conn, "x")
      assert.same({ 4000, "enough" }, { world:close_of(conn) })
    end
  end)

  it("may send a last message", function()
    local conn = connect {
      handle_message = throw,
      on_error = function(conn)
        conn:send("sorry")
        return true
      end,
    }
    world:receive(conn, "x")
    assert.same({ "sorry" }, world:payloads(conn))
  end)

  it("may wait before it decides", function()
    local function slow()
      require("tidewire").sleep(1)
      return true
    end
    for codec, hook in pairs { text = throw, json = print } do
      local conn = connect { codec = codec, handle_message = hook, on_error = slow }
      local task = world:receive(conn, "nonsense")
      assert.equal(codec == "text" and "failed" or "waits", task.state)
      assert.is_true(conn:is_open())
      world:advance(1)
      assert.is_false(conn:is_open())
    end
  end)

  it("is called once for each error", function()
    local conn, errors = connect { handle_message = throw }
    world:receive(conn, "x")
    world:receive(conn, "x")
    assert.equal(2, #errors)
    assert.equal(2, world.stats.script_errors)
  end)
end)

describe("an on_error that throws", function()
  local calls

  local function connect_bad(handler)
    calls = 0
    handler.on_error = function()
      calls = calls + 1
      error("and out of milk")
    end
    return (connect(handler))
  end

  it("closes with the first error's code", function()
    local conn = connect_bad { handle_message = throw }
    world:receive(conn, "x")
    assert.equal(1011, (world:close_of(conn)))
    conn = connect_bad { codec = "json", handle_message = print }
    world:receive(conn, "nonsense")
    assert.equal(1007, (world:close_of(conn)))
  end)

  it("is not called again for its own error", function()
    local conn = connect_bad { handle_message = throw }
    world:receive(conn, "x")
    assert.equal(1, calls)
  end)

  it("is logged and counted beside the first error", function()
    local conn = connect_bad { handle_message = throw }
    world:receive(conn, "x")
    local lines = world:logged("script_error")
    assert.equal(2, #lines)
    assert.same({ "handle_message", "on_error" }, { lines[1].fields.hook, lines[2].fields.hook })
    assert.matches("and out of milk", lines[2].fields.why)
    assert.matches("errors_spec", lines[2].fields.traceback)
    assert.equal(2, world.stats.script_errors)
  end)

  it("closes when it throws nil, and when it throws the error on", function()
    for _, on_error in ipairs { function() error() end, function(_, err) error(err) end } do
      local conn = connect { handle_message = throw, on_error = on_error }
      world:receive(conn, "x")
      assert.equal(1011, (world:close_of(conn)))
    end
    assert.same({}, world:logged("internal_error"))
  end)
end)

describe("an error in on_start", function()
  it("closes with 1011, whatever on_error says", function()
    for _, answer in ipairs { true, false } do
      local conn = connect({ on_start = throw }, answer)
      assert.equal(1011, (world:close_of(conn)))
    end
  end)

  it("reaches on_error first", function()
    local _, errors = connect { on_start = throw }
    assert.equal("on_start", errors[1].hook)
  end)

  it("leaves the code to on_error", function()
    local conn = connect { on_start = throw, on_error = function(conn) conn:close(4001) end }
    assert.equal(4001, (world:close_of(conn)))
  end)

  it("that is returned closes as well", function()
    local conn, errors = connect({ on_start = function() return nil, "who are you" end }, false)
    assert.equal("returned", errors[1].kind)
    assert.equal(1011, (world:close_of(conn)))
  end)
end)

describe("an error in on_close", function()
  it("is logged", function()
    local conn = connect { on_close = throw }
    world:close(conn)
    local line = world:logged("script_error")[1]
    assert.equal("on_close", line.fields.hook)
    assert.matches("out of tea", line.fields.why)
    assert.equal(world:id(conn), line.conn)
  end)

  it("does not reach on_error, and closes nothing", function()
    local conn, errors = connect({ on_close = throw }, true)
    world:close(conn)
    assert.same({}, errors)
    assert.same({}, world.closes)
  end)
end)

describe("nil and an error, returned by a hook,", function()
  it("is an error of the kind returned, without a traceback", function()
    local value = { code = 7 }
    local conn, errors = connect { handle_message = function() return nil, value end }
    world:receive(conn, "x")
    assert.equal("returned", errors[1].kind)
    assert.equal("handle_message", errors[1].hook)
    assert.equal("", errors[1].traceback)
    assert.equal(value, errors[1].value)
  end)

  it("has the error's text as its message", function()
    local conn, errors = connect { handle_message = function() return nil, "no tea" end }
    world:receive(conn, "x")
    assert.equal("no tea", errors[1].message)
    assert.equal("handle_message: no tea", tostring(errors[1]))
  end)

  it("may be false", function()
    local conn, errors = connect { handle_message = function() return nil, false end }
    world:receive(conn, "x")
    assert.equal("false", errors[1].message)
  end)

  it("comes from send_ping and on_drain too", function()
    for event, hook in pairs { ping = "send_ping", drained = "on_drain" } do
      local conn, errors = connect { [hook] = function() return nil, "no tea" end }
      world:hook(event, conn)
      assert.equal(hook, errors[1].hook)
      assert.equal("returned", errors[1].kind)
    end
  end)

  it("closes only if on_error returns true", function()
    for _, answer in ipairs { true, false } do
      local conn = connect({ handle_message = function() return nil, "no tea" end }, answer)
      world:receive(conn, "x")
      assert.equal(not answer, conn:is_open())
    end
  end)

  it("is counted as a script's error", function()
    local conn = connect { handle_message = function() return nil, "no tea" end }
    world:receive(conn, "x")
    assert.equal(1, world.stats.script_errors)
  end)

  it("is logged where there is no on_error, and left to on_error where there is one", function()
    local function refuse()
      return nil, "no tea"
    end
    world:receive(connect { handle_message = refuse }, "x")
    assert.same({}, world:logged("script_error"))
    world:serve { handle_message = refuse }
    world:receive(world:connect(), "x")
    local line = world:logged("script_error")[1]
    assert.same({ "hook", "why" }, line.keys)
    assert.same({ hook = "handle_message", why = "no tea" }, line.fields)
  end)

  it("is none where the first value is anything but nil", function()
    local conn, errors = connect { handle_message = function() return false, "fine" end }
    world:receive(conn, "x")
    assert.same({}, errors)
  end)
end)

describe("the log of thrown values", function()
  it("names connection, hook, reason and traceback, whether there is an on_error or not", function()
    for _, on_error in ipairs { false, function() end } do
      world:serve { handle_message = throw, on_error = on_error or nil }
      local conn = world:connect()
      world.logs = {}
      world:receive(conn, "x")
      local line = world.logs[1]
      assert.equal("error", line.level)
      assert.equal("script_error", line.event)
      assert.equal(world:id(conn), line.conn)
      assert.same({ "hook", "why", "traceback" }, line.keys)
      assert.equal("handle_message", line.fields.hook)
      assert.matches("errors_spec%.lua:%d+: out of tea", line.fields.why)
      assert.matches("^stack traceback:", line.fields.traceback)
      assert.equal(1, #world.logs)
    end
  end)

  it("bears values that cannot be shown", function()
    world:serve { handle_message = function() error(setmetatable({}, { __tostring = throw })) end }
    world:receive(world:connect(), "x")
    assert.equal("an error value that cannot be shown", world:logged("script_error")[1].fields.why)
  end)
end)

describe("an error that belongs to no connection", function()
  it("is logged, and does not reach on_error", function()
    local tw = require "tidewire.async"
    local conn, errors = connect { handle_message = function() tw.spawn(throw) end }
    world:receive(conn, "x")
    tw.after(1, throw)
    world:advance(1)
    local lines = world:logged("script_error")
    assert.same({ "spawn", "timer" }, { lines[1].fields.hook, lines[2].fields.hook })
    assert.same({}, errors)
    assert.is_true(conn:is_open())
  end)
end)

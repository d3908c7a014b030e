-- dispatch_spec.lua -- the events by which C calls Lua: loading and stopping an app, and the hooks
-- of a connection.

local fake_app = require "support.fake_app"

local world

before_each(function() world = fake_app:install() end)
after_each(function() world:uninstall() end)

--- Loads a script's text; it must return at once. Returns what `load` returned, and the file.
local function load_script(text, command_line)
  local task, file = world:load(text, command_line)
  assert(task.state == "returned", tostring((world.failures[1] or {}).value))
  return task.results[1], task.results[2], file
end

--- The problems of a script that must not load.
local function problems_of(text, command_line)
  local app, lines, file = load_script(text, command_line)
  assert.is_nil(app)
  assert.is_table(lines)
  for i, line in ipairs(lines) do
    lines[i] = line:gsub(file:gsub("%p", "%%%0"), "app.lua")
  end
  return lines
end

describe("loading", function()
  it("gives C the app's settings as plain values", function()
    local app =
      load_script 'return { listen = "127.0.0.1:9000", endpoints = { ["/a"] = {}, ["/b"] = {} } }'
    assert.same({ "127.0.0.1:9000" }, app.listen)
    assert.equal(2, #app.endpoints)
    assert.equal(0, #app.http)
    assert.equal(10000, app.limits.connections)
    assert.is_nil(app.admin)
  end)

  it("takes a bare handler", function()
    assert.equal("/*", load_script("return { handle_message = function() end }").endpoints[1].path)
  end)

  it("listens to the command line", function()
    local app = load_script('return { listen = "127.0.0.1:9000", endpoints = { ["/"] = {} } }',
      { listen = { "127.0.0.1:1" }, admin = "127.0.0.1:2" })
    assert.same({ "127.0.0.1:1" }, app.listen)
    assert.equal("127.0.0.1:2", app.admin)
  end)

  it("listens to the environment", function()
    world.environ = { TIDEWIRE_LISTEN = "127.0.0.1:3" }
    assert.same({ "127.0.0.1:3" }, load_script("return { handle_message = print }").listen)
  end)

  it("asks C what an address is", function()
    world.core.check_address = function(text) return nil, "no good: " .. text end
    assert.matches("no good: nowhere",
      problems_of('return { listen = "nowhere", endpoints = { ["/"] = {} } }')[1])
  end)

  it("may wait at the script's top level", function()
    local task = world:load [[
      local tw = require "tidewire"
      tw.sleep(1)
      return { handle_message = function() end }
    ]]
    assert.equal("waits", task.state)
    world:advance(1)
    assert.equal("returned", task.state)
    assert.equal(1, #task.results[1].endpoints)
  end)

  it("that fails gives a line for each problem, with file and line", function()
    local lines = problems_of 'return {\n  codec = "yaml",\n  ping_peroid = 3,\n}'
    assert.equal(2, #lines)
    assert.matches("^app%.lua:2: codec: ", lines[1])
    assert.matches("^app%.lua:3: .*ping_period", lines[2])
    assert.same({}, world.endpoints)
  end)

  it("that fails by an error gives its file, line and traceback", function()
    local lines = problems_of 'local x\nerror("out of tea")'
    assert.equal(1, #lines)
    assert.matches("^app%.lua:2: out of tea\nstack traceback:", lines[1])
  end)

  it("logs warnings, whether it fails or not", function()
    world.environ = { TIDEWIRE_LISTNE = "x" }
    load_script "return { handle_message = print }"
    problems_of "return 42"
    local lines = world:logged("configuration")
    assert.equal(2, #lines)
    for _, line in ipairs(lines) do
      assert.equal("warn", line.level)
      assert.matches("TIDEWIRE_LISTNE.*did you mean TIDEWIRE_LISTEN", line.fields.why)
    end
  end)

  it("of a name that is not UTF-8 returns a problem, and no error of the library", function()
    local lines = problems_of 'return { name = "\\xff", handle_message = print }'
    assert.matches("^app%.lua:1: name: ", lines[1])
  end)

  it("of a path that is not UTF-8 returns a problem, and no error of the library", function()
    local lines = problems_of 'return { endpoints = { ["/\\xff"] = { handle_message = print } } }'
    -- an escape hides the line
    assert.matches("^app%.lua: endpoint .* a path must be UTF%-8$", lines[1])
  end)
end)

describe("on_load", function()
  it("runs when all endpoints are there", function()
    local endpoints_then
    world:serve {
      endpoints = { ["/"] = {} }, on_load = function() endpoints_then = #world.endpoints end,
    }
    assert.equal(1, endpoints_then)
  end)

  it("may wait", function()
    package.loaded["tidewire.waited"] = {}
    local task = world:load [[
      local tw = require "tidewire"
      return {
        endpoints = { ["/"] = {} },
        on_load = function() tw.sleep(1) require "tidewire.waited".done = true end,
      }
    ]]
    assert.equal("waits", task.state)
    world:advance(1)
    assert.is_true(package.loaded["tidewire.waited"].done)
    assert.is_table(task.results[1])
  end)

  it("that throws fails the load, with file, line and traceback", function()
    local lines = problems_of([[
return { endpoints = { ["/"] = {} }, on_load = function()
error("out of tea") end }]])
    assert.equal(1, #lines)
    assert.matches("^app%.lua: on_load: .*app%.lua:2: out of tea\nstack traceback:", lines[1])
  end)

  it("does not run in an app that is wrong", function()
    local lines =
      problems_of 'return { endpoints = { ["/"] = 42 }, on_load = function() error("it ran") end }'
    assert.equal(1, #lines)
    assert.is_nil(lines[1]:find("it ran", 1, true))
  end)
end)

describe("on_stop", function()
  it("runs when the program ends, and may wait", function()
    local done
    world:serve {
      endpoints = { ["/"] = {} },
      on_stop = function()
        require("tidewire").sleep(1)
        done = true
      end,
    }
    local task = world:event("stop", 0)
    assert.is_nil(done)
    world:advance(1)
    assert.is_true(done)
    assert.equal("returned", task.state)
  end)

  it("that throws is logged", function()
    world:serve { endpoints = { ["/"] = {} }, on_stop = function() error("out of tea") end }
    world:event("stop", 0)
    assert.equal("on_stop", world:logged("script_error")[1].fields.hook)
  end)

  it("may be missing, and so may the app", function()
    world.events = require "tidewire.dispatch"
    assert.equal("returned", world:event("stop", 0).state)
    world:serve { endpoints = { ["/"] = {} } }
    assert.equal("returned", world:event("stop", 0).state)
  end)
end)

describe("the hooks of a connection", function()
  it("get the connection and what has happened", function()
    local calls = {}
    local function note(name)
      return function(...) table.insert(calls, table.pack(name, ...)) end
    end
    world:serve {
      validate = function(request)
        note("validate")(request.path)
        return true
      end,
      on_start = note "on_start", handle_message = note "handle_message",
      send_ping = note "send_ping",
      on_timeout = function(...)
        note("on_timeout")(...)
        return false
      end,
      on_drain = note "on_drain", on_close = note "on_close",
    }
    local conn = world:connect("/path")
    world:receive(conn, "text")
    world:receive(conn, "\xff", true)
    world:hook("ping", conn)
    world:hook("timeout", conn)
    world:hook("drained", conn)
    world:close(conn, 4000, "bye")
    assert.same({
      { n = 2, "validate", "/path" },
      { n = 2, "on_start", conn },
      { n = 4, "handle_message", conn, "text", "text" },
      { n = 4, "handle_message", conn, "\xff", "binary" },
      { n = 2, "send_ping", conn },
      { n = 2, "on_timeout", conn },
      { n = 2, "on_drain", conn },
      { n = 4, "on_close", conn, 4000, "bye" },
    }, calls)
  end)

  it("may all be missing", function()
    world:serve {}
    local conn = world:connect()
    assert.equal("returned", world:close(conn).state)
    assert.same({}, world.failures)
  end)

  it("are each endpoint's own, and get their own connections", function()
    local calls = {}
    local function handler(name)
      return {
        handle_message = function(conn, message) table.insert(calls, { name, conn, message }) end,
      }
    end
    world:serve { endpoints = { ["/a"] = handler "a", ["/b"] = handler "b" } }
    local one, two, three = world:connect("/a"), world:connect("/b"), world:connect("/a")
    world:receive(three, "3")
    world:receive(two, "2")
    world:receive(one, "1")
    assert.same({ { "a", three, "3" }, { "b", two, "2" }, { "a", one, "1" } }, calls)
  end)

  it("may come from the app's defaults", function()
    local calls = 0
    world:serve {
      defaults = { on_start = function() calls = calls + 1 end },
      endpoints = { ["/a"] = {}, ["/b"] = { on_start = function() calls = calls + 10 end } },
    }
    world:connect("/a")
    world:connect("/b")
    assert.equal(11, calls)
  end)

  it("may wait", function()
    local tw_sleep = require("tidewire.async").sleep
    local ended = {}
    local function slow(name)
      return function()
        tw_sleep(1)
        table.insert(ended, name)
        return name == "on_timeout" and false or nil
      end
    end
    world:serve {
      on_start = slow "on_start", handle_message = slow "handle_message",
      send_ping = slow "send_ping", on_timeout = slow "on_timeout", on_drain = slow "on_drain",
      on_close = slow "on_close",
    }
    local conn = world:connect()
    world:advance(1)
    world:receive(conn, "x")
    world:advance(1)
    for _, event in ipairs { "ping", "timeout", "drained" } do
      assert.equal("waits", world:hook(event, conn).state)
      world:advance(1)
    end
    world:close(conn)
    world:advance(1)
    assert.same({
      "on_start", "handle_message", "send_ping", "on_timeout", "on_drain", "on_close",
    }, ended)
    assert.same({}, world.failures)
  end)
end)

describe("on_timeout", function()
  local function time_out(answer)
    world:serve { on_timeout = answer }
    local conn = world:connect()
    world:hook("timeout", conn)
    return conn
  end

  it("that answers true or nothing closes with 4408", function()
    for _, answer in ipairs { function() return true end, function() end } do
      assert.same({ 4408, "timed out" }, { world:close_of(time_out(answer)) })
    end
  end)

  it("that answers false keeps the connection", function()
    assert.is_true(time_out(function() return false end):is_open())
  end)

  it("that closes with a code of its own is obeyed", function()
    assert.same({ 4000, "zzz" },
      { world:close_of(time_out(function(conn) conn:close(4000, "zzz") end)) })
  end)

  it("may wait before it decides", function()
    local conn = time_out(function()
      require("tidewire").sleep(1)
      return false
    end)
    world:advance(1)
    assert.is_true(conn:is_open())
  end)
end)

describe("a connection that is forgotten", function()
  it("has a harmless object", function()
    world:serve {}
    local conn = world:connect()
    world:close(conn)
    world:forget(conn)
    assert.same({ nil, "closed" }, { conn:send("x") })
    assert.is_false(conn:is_open())
  end)

  it("may be collected", function()
    world:serve { on_start = function(conn) conn.itself = conn end }
    local kept = setmetatable({ world:connect() }, { __mode = "v" })
    kept[1]:every(1, function() end)
    world:close(kept[1])
    world:forget(kept[1])
    collectgarbage()
    collectgarbage()
    assert.is_nil(kept[1])
  end)
end)

describe("a timer's event", function()
  it("calls the timer's function", function()
    world:serve {}
    local calls = 0
    require("tidewire").after(1, function() calls = calls + 1 end)
    world:advance(1)
    assert.equal(1, calls)
  end)

  it("of a timer that is over does nothing", function()
    world:serve {}
    assert.equal("returned", world:event("timer", 0, 12345, 0).state)
  end)
end)

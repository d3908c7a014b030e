-- stuck_hooks_spec.lua -- a hook that cannot go on ends: the client of its route gets an answer,
-- and its connection's next hook runs. A drain waits for such an answer too.

local cjson = require "cjson"
local http = require "support.http"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local tw, record = require "tidewire", require "record"
--- Closes the coroutine that runs, when it waits.
local function close_soon()
  local co = coroutine.running()
  tw.after(0.02, function() record("close", coroutine.close(co), (coroutine.resume(co))) end)
end
local function wait()
  local _ <close> = setmetatable({}, { __close = function() record("variable closed") end })
  tw.await(function() end)
end
return {
  endpoints = { ["/"] = {
    handle_message = function(conn, message)
      if message == "wait" then close_soon() wait() end
      conn:send(message)
    end,
    on_error = function(conn, err) conn:send(err.hook .. ": " .. err.message) return false end,
  }, ["/on_error"] = {
    handle_message = function(_, message) error(message == "shown"
      and setmetatable({}, { __tostring = function() return coroutine.yield() end })
      or message, 0) end,
    on_error = function(_, err)
      if err.message == "close" then close_soon() wait() else coroutine.yield() end
      return false
    end,
    on_close = function(_, code) record("closed", code) end,
  } },
  http = {
    ["/yield"] = function() coroutine.yield() return "never" end,
    ["/yield/deep"] = function()
      pcall(function() tw.sleep(0.01) coroutine.yield("x") end)
      return "never"
    end,
    ["/yield/metamethod"] = function()
      return setmetatable({}, { __index = function() return coroutine.yield() end }).anything
    end,
    ["/close"] = function() close_soon() wait() return "never" end,
    ["/close/sleeping"] = function() close_soon() tw.sleep(1000) return "never" end,
    ["/close/inside"] = function()
      close_soon()
      coroutine.wrap(function() pcall(wait) end)()
      return "never"
    end,
    ["/resume"] = function()
      local co
      tw.spawn(function() co = coroutine.running() tw.sleep(0.05) record("slept") end)
      tw.sleep(0.01)
      local ok, why = coroutine.resume(co)
      return tostring(ok) .. " " .. why
    end,
    ["/ended"] = function()
      local co
      tw.spawn(function() co = coroutine.running() end)
      tw.sleep(0.01)
      return tostring(coroutine.resume(co)) .. " " .. tostring(coroutine.close(co))
    end,
    ["/late"] = function() record("begun") tw.sleep(0.5) return "late" end,
    ["/later"] = function()
      record("begun")
      return (tw.await(function(done) tw.after(0.5, function() tw.spawn(done, "later") end) end))
    end,
  },
}
]]

describe("a hook that cannot go on", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function is_failure(path)
    local response = app:http(path)
    assert.equal(500, response.status, path)
    assert.same({ error = "The server failed to answer.", status = 500 },
      cjson.decode(response.body))
  end

  it("as its route yields itself is answered at once", function()
    for _, path in ipairs { "/yield", "/yield/deep", "/yield/metamethod" } do is_failure(path) end
    assert.is_truthy(app:wait_for_log('script_error hook=http why="coroutine.yield outside of'))
  end)

  it("as its route's coroutine was closed is answered at once", function()
    is_failure("/close")
    app:wait_event("variable closed")
    assert.same({ "close", true, false, n = 3 }, app:wait_event("close"))
    is_failure("/close/sleeping")
    is_failure("/close/inside")
    assert.is_truthy(app:wait_for_log('script_error hook=http why="coroutine.close: '))
  end)

  it("as its coroutine was closed reaches on_error, and the next message is handled", function()
    local ada = app:connect("/")
    assert.matches("^handle_message: coroutine%.close: ", (ada:ask("wait")))
    assert.equal("next", (ada:ask("next")))
  end)

  it("as it is on_error is logged, and its connection closes", function()
    for message, why in pairs { yield = "coroutine%.yield outside of", close = "coroutine%.close: ",
      shown = "coroutine%.yield outside of" } do
      local ada = app:connect("/on_error")
      ada:send_text(message)
      assert.equal(1011, (ada:wait_closed()))
      assert.is_truthy(app:wait_for_log('script_error conn=%S+ .*hook=on_error why="' .. why),
        message)
    end
    app:wait_event("closed", 3)
    assert.is_nil(app:log():find("internal_error", 1, true))
  end)

  it("is resumed by the server only", function()
    assert.matches("^false cannot resume a hook of the server: ", app:http("/resume").body)
    app:wait_event("slept")
    assert.equal("false true", app:http("/ended").body)
  end)
end)

describe("a drain", function()
  it("waits for the answers that are awaited when it begins", function()
    local app <close> = server.start({ app = APP })
    local asked = {}
    for i, path in ipairs { "/late", "/later" } do
      asked[i] = assert(stream.connect(app.addresses[1]))
      asked[i]:write(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(path))
    end
    app:wait_event("begun", 2)
    app:signal("sigterm")
    assert.is_truthy(app:wait_for_log("event=draining"))
    assert.equal("late", http.read_response(asked[1]).body)
    assert.equal("later", http.read_response(asked[2]).body)
  end)
end)

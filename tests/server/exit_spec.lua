-- exit_spec.lua -- os.exit in a script: the server drains and ends with that code; the calling code
-- does not go on.

local cjson = require "cjson"
local process = require "support.process"
local reloads = require "support.reloads"
local server = require "support.server"

local APP = [[
local tw, uv, record = require "tidewire", require "luv", require "record"
local function leave(...)
  local _ <close> = setmetatable({}, { __close = function() record("closed variable") end })
  os.exit(...)
  record("it returned")
end
local ways = {
  hook = function() leave(3) end,
  protected = function() pcall(pcall, leave, 3) record("it returned") end,
  coroutine = function() coroutine.wrap(function() pcall(leave, 3) end)() record("it returned") end,
  sleeping = function() tw.sleep(0.01) leave(3) end,
  timer = function() tw.after(0, function() leave(3) end) end,
  spawned = function() tw.spawn(leave, 3) end,
  callback = function() uv.new_timer():start(1, 0, function() leave(3) end) end,
  ["C function"] = function() table.sort({ 2, 1 }, function() leave(3) end) end,
  ["many times"] = function() for code = 3, 9 do tw.spawn(leave, code) end end,
  ["without a code"] = function() leave() end,
  ["false"] = function() leave(false) end,
  ["true"] = function() leave(true, true) end,
}
return {
  endpoints = { ["/"] = {
    handle_message = function(conn, message)
      if ways[message] then ways[message]() end
      conn:send(message)
    end,
    on_close = function(_, code) record("close", code) end,
  } },
  http = { ["/exit"] = function() leave(3) end, ["/late"] = function()
    tw.sleep(0.3)
    return "late"
  end },
  on_stop = function() record("stop") if os.getenv("EXIT_IN_STOP") then os.exit(4) end end,
}
]]

local CODES = { ["without a code"] = 0, ["false"] = 1, ["true"] = 0 }

describe("os.exit", function()
  for _, way in ipairs {
    "hook", "protected", "coroutine", "sleeping", "timer", "spawned", "callback", "C function",
    "many times", "without a code", "false", "true",
  } do
    it("is a drain with that exit code: " .. way, function()
      local app = server.start({ app = APP })
      local ada, eve = app:connect("/"), app:connect("/")
      assert.equal("hello", (eve:ask("hello")))
      ada:send_text(way)
      assert.equal(1001, (eve:wait_closed()))
      ada:wait_closed()
      assert.is_truthy(app.process:wait_exit())
      assert.is_truthy(app:wait_for_log("event=exit .*code=%d+ .*where=app%.lua:4"))
      assert.is_truthy(app:wait_for_log("event=draining why=os%.exit"))
      assert.is_truthy(app:wait_for_log("event=stopped why=clean"))
      assert.is_nil(app:log():find("cut_short", 1, true))
      assert.equal(0, #app:events("it returned"))
      assert.is_true(#app:events("closed variable") > 0)
      assert.equal(app.workers, #app:events("stop"))
      assert.equal(2, #app:events("close"))
      app:stop(CODES[way] or 3)
    end)
  end

  it("answers its own request, and lets others have theirs", function()
    local app = server.start({ app = APP })
    local response = app:http("/exit")
    assert.same({ 503, "The server is shutting down." },
      { response.status, cjson.decode(response.body).error })
    app:stop(3)
  end)

  it("in on_stop gives the end its code", function()
    local app = server.start({ app = APP, environment = { EXIT_IN_STOP = "1" } })
    app:stop(4)
  end)
end)

describe("os.exit while an app is loaded", function()
  local TEXTS =
    { "os.exit(0)", "return { endpoints = { ['/'] = {} }, on_load = function() os.exit(0) end }" }

  it("ends the start, and a check, with an error", function()
    for _, text in ipairs(TEXTS) do
      for _, args in ipairs { { "app.lua", "--listen", "127.0.0.1:0" }, { "check", "app.lua" } } do
        local folder = process.make_directory()
        process.write_file(folder .. "/app.lua", text)
        local result = server.run(args, { directory = folder })
        process.remove_directory(folder)
        local output = result.stdout .. result.stderr
        assert.equal(2, result.code, output)
        assert.matches("app.lua:1: os.exit(0) while the app is loaded: ", output, 1, true)
      end
    end
  end)

  it("fails the reload", function()
    local app <close> = server.start({ app = APP })
    for _, text in ipairs(TEXTS) do
      assert.matches("app.lua:1: os.exit(0) while the app is loaded: ",
        reloads.bad(app, text), 1, true)
    end
    assert.equal("late", app:http("/late").body)
  end)
end)

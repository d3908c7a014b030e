-- state_upgrade_spec.lua -- the state over an upgrade: the running process passes it to the next
-- one, which has it before its first client.

local cjson = require "cjson"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

local APP = [[
local tw = require "tidewire"
local record = require "record"
local top = tw.keep("top", { n = 0 })
return {
  endpoints = {
    ["/chat"] = {
      ping_period = 0, resume = { seconds = 600 },
      validate = require "here".validate,
      on_start = function(conn) record("start") conn.n = 0 end,
      on_close = function(conn, code) record("close", code) end,
      handle_message = function(conn, message)
        conn.n = conn.n + 1
        top.n = top.n + 1
        tw.shared("s"):incr("n")
        conn:send(("%d %d %d %s %s")
          :format(conn.n, top.n, tw.shared("s"):get("n"), message, conn.id))
      end,
    },
  },
}
]]

-- The next process says its number, and the hook of the session whose socket it wants closed kills
-- it: so it has asked for the state, and has not got it.
local NEXT = [[
local number <close> = assert(io.open("FOLDER/next", "w"))
number:write(require("luv").os_getpid())
]]
local KILLING = APP:gsub("on_close =", [[
      on_disconnect = function()
        local number = io.open("FOLDER/next")
        if number then
          require("luv").kill(number:read("n"), "sigkill")
          tw.sleep(1)
        end
      end,
      on_close =]])

describe("an upgrade with a state", function()
  local folder, file, pid_file
  local servers

  before_each(function()
    folder = process.make_directory()
    file, pid_file = folder .. "/app.state", folder .. "/pid"
    servers = {}
  end)
  after_each(function()
    stream.close_all()
    for index = #servers, 1, -1 do servers[index]:stop() end
    process.remove_directory(folder)
  end)

  local function options(more, state)
    local list = { "--pid-file", pid_file, "--state", state or file, table.unpack(more or {}) }
    return { app = APP, options = list }
  end

  local function start(more, listen)
    local given = options(more)
    given.listen = listen
    local one = server.start(given)
    servers[#servers + 1] = one
    return one
  end

  local function connect(one, received)
    local peer = one:connect_on(0, ("/chat?session=%s&received=%d"):format(("s"):rep(20), received))
    local first = cjson.decode((peer:receive()))
    return peer, first.resumed, first.received
  end

  -- Comes back to the process that goes on, which may not take sessions yet.
  local function return_to(one, received)
    local peer, resumed
    loop.wait_until(function()
      local ok, got, is_resumed = pcall(connect, one, received)
      peer, resumed = got, is_resumed
      return ok
    end)
    return peer, resumed
  end

  local function address(one) return ("127.0.0.1:%d"):format(one.addresses[1].port) end

  it("passes sessions, tw.keep and tw.shared to the next process, and on", function()
    local one = start()
    local ada = connect(one, 0)
    local id = ada:ask("a"):match("^1 1 1 a (%S+)$")
    assert.is_string(id)
    for round = 2, 3 do
      local two = start({ "--upgrade" }, { address(one) })
      assert.equal(1012, (ada:wait_closed()))
      local resumed, received
      ada, resumed, received = connect(two, round - 1)
      assert.same({ true, round - 1 }, { resumed, received })
      assert.equal(("%d %d %d a %s"):format(round, round, round, id), (ada:ask("a")))
      assert.equal(0, (one.process:wait_exit(loop.patience + 15)))
      assert.equal(1, #one:log_lines("event=state_passed .-sessions=1 "))
      assert.same({}, one:log_lines("event=state_written"))
      assert.equal(round == 2 and "start" or "", one:event_names())
      assert.same({}, two:log_lines("event=state_lost"))
      one = two
    end
    ada:close(1000)
    one:wait_event("close")
    one:signal("sigterm")
    one.process:wait_exit()
    assert.equal(1, #one:log_lines("event=state_written .-sessions=0 "))
  end)

  it("whose process ends while hooks of sessions run leaves all to the running one", function()
    local one = server.start({ app = KILLING:gsub("FOLDER", folder), options = options().options })
    servers[#servers + 1] = one
    local ada = connect(one, 0)
    ada:ask("a")
    local given = options({ "--upgrade" })
    given.listen, given.app = { address(one) }, NEXT:gsub("FOLDER", folder) .. APP
    local _, log = server.launch_to_end(given)
    assert.is_nil(log:find("event=ready", 1, true), log)
    assert.is_truthy(one:wait_for_log("event=upgrade_failed"))
    os.remove(folder .. "/next")
    assert.equal(1012, (ada:wait_closed()))
    local resumed
    ada, resumed = return_to(one, 1)
    assert.is_true(resumed)
    assert.matches("^2 2 2 b ", (ada:ask("b")))
    one:signal("sigterm")
    assert.equal(1012, (ada:wait_closed()))
    assert.equal(0, (one.process:wait_exit(loop.patience + 15)))
    assert.same({}, one:log_lines("event=state_failed"))
    assert.is_nil(uv.fs_stat(file .. ".running"))
  end)

  it("that fails leaves all to the running process", function()
    local one = start()
    local ada = connect(one, 0)
    ada:ask("a")
    local given = options({ "--upgrade" }, folder .. "/none/app.state")
    given.listen = { address(one) }
    local code, log = server.launch_to_end(given)
    assert.is_truthy(code and code ~= 0, log)
    assert.matches("No such file or directory", log)
    assert.equal(1012, (ada:wait_closed()))
    local resumed
    ada, resumed = return_to(one, 1)
    assert.is_true(resumed)
    assert.matches("^2 2 2 b ", (ada:ask("b")))
    one:signal("sigterm")
    assert.equal(1012, (ada:wait_closed()))
    one.process:wait_exit()
    assert.equal(1, #one:log_lines("event=state_written .-sessions=1 "))
    assert.equal("start", one:event_names())
  end)
end)

-- notify_spec.lua -- systemd's notifications: ready, the number of connections, stopping, and the
-- watchdog's message, which a script that does not return silences. test_notify.c tests the forms
-- of all messages.

local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local unix = require "socket.unix"

local APP = [[
local record = require "record"
return {
  on_load = function()
    record("variables", os.getenv "NOTIFY_SOCKET", os.getenv "WATCHDOG_USEC")
  end,
  endpoints = {
    ["/"] = {
      ping_period = 0,
      handler_timeout = 60,
      handle_message = function(conn, message)
        if message == "hang" then
          record("hangs")
          local finish = io.open("go_on")
          while not finish do finish = io.open("go_on") end
          finish:close()
        end
        conn:send(message)
      end,
    },
  },
}
]]

describe("systemd", function()
  local folder, path, receiver
  local datagrams -- all datagrams so far

  before_each(function()
    folder = process.make_directory()
    path = folder .. "/notify"
    receiver = assert(unix.dgram())
    assert(receiver:bind(path))
    receiver:settimeout(0)
    datagrams = {}
  end)

  after_each(function()
    stream.close_all()
    receiver:close()
    process.remove_directory(folder)
  end)

  local function listen()
    for text in function() return (receiver:receive()) end do datagrams[#datagrams + 1] = text end
  end

  -- Waits for a datagram with this line in it, from number `first` on; returns its number.
  local function index_of(line, first)
    local found = loop.wait_until(function()
      listen()
      for index = first or 1, #datagrams do
        if ("\n" .. datagrams[index] .. "\n"):find("\n" .. line .. "\n", 1, true) then
          return index
        end
      end
    end)
    return found
      or error(("%q was not said; but:\n%s"):format(line, table.concat(datagrams, "\n--\n")), 2)
  end

  local function start(environment, options)
    environment.NOTIFY_SOCKET = path
    return server.start({ app = APP, environment = environment, options = options })
  end

  it("receives READY, its process id, and STOPPING", function()
    local app <close> = start({})
    local ready = index_of("READY=1")
    assert.equal(1, ready)
    assert.equal(ready, index_of("MAINPID=" .. app.pid))
    assert.equal(ready, index_of("STATUS=serving; 0 connections"))
    assert.same({ "variables", n = 3 }, app:wait_event("variables")) -- scripts do not see them
    app:signal("sigterm")
    assert.is_true(index_of("STOPPING=1") > ready)
    assert.equal(0, app.process:wait_exit())
  end)

  it("receives STOPPING as the lame duck begins", function()
    local app <close> = start({}, { "--lame-duck-seconds", "3600" })
    index_of("READY=1")
    app:signal("sigterm")
    index_of("STOPPING=1")
    app:signal("sigterm")
  end)

  it("receives nothing of a start that fails", function()
    local result = server.run({ folder .. "/none.lua", "--listen", "127.0.0.1:0" },
      { environment = { NOTIFY_SOCKET = path } })
    assert.equal(2, result.code)
    listen()
    assert.same({}, datagrams)
  end)

  it("receives the number of connections, and the watchdog's message", function()
    local app <close> = start({ WATCHDOG_USEC = "200000" })
    local ada, bob = app:connect(), app:connect()
    index_of("STATUS=serving; 2 connections")
    ada:close(1000)
    index_of("STATUS=serving; 1 connection")
    bob:close(1000)
    local last = 0
    for _ = 1, 3 do last = index_of("WATCHDOG=1", last + 1) end
  end)

  it("receives no watchdog message while a script does not return", function()
    -- A connection over a Unix socket reaches a free worker.
    local app <close> = server.start({
      app = APP, workers = 2, listen = { "unix:" .. folder .. "/socket" },
      environment = { NOTIFY_SOCKET = path, WATCHDOG_USEC = "200000" },
    })
    local ada = app:connect()
    index_of("WATCHDOG=1")
    ada:send_text("hang")
    app:wait_event("hangs")

    --- Changes the status so often. A tick sends each change, and the watchdog's message as
    --- well.
    local function let_tick(count)
      local before = #datagrams
      for _ = 1, count, 2 do
        local bob = app:connect()
        before = index_of("STATUS=serving; 2 connections", before + 1)
        bob:close(1000)
        before = index_of("STATUS=serving; 1 connection", before + 1)
      end
    end

    let_tick(6) -- more than half of the period: before that it could not know
    local before = #datagrams
    let_tick(16)
    for index = before + 1, #datagrams do assert.not_equal("WATCHDOG=1", datagrams[index]) end
    before = #datagrams
    process.write_file(app.directory .. "/go_on", "")
    assert.equal("hang", (ada:receive()))
    index_of("WATCHDOG=1", before + 1)
  end)

  it("need not be there, nor read", function()
    os.remove(path)
    local app = start({})
    assert.is_truthy(app:log():find("event=notify_failed"))
    assert.equal("x", (app:connect():ask("x")))
    app:stop()
    receiver:close()
    receiver = assert(unix.dgram())
    assert(receiver:bind(path)) -- without a reader
    local unheard <close> = start({ WATCHDOG_USEC = "4000" })
    loop.pass(0.3)
    assert.equal("x", (unheard:connect():ask("x")))
  end)
end)

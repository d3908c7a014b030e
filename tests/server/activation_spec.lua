-- activation_spec.lua -- sockets that systemd has opened and passes on: which of them the server
-- uses, what it does with the others, and that connections wait in them while no server runs.

local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local socket = require "socket"
local stream = require "support.stream"
local unix = require "socket.unix"
local uv = require "luv"

local APP = [[
local record = require "record"
return {
  on_load = function()
    record("variables", os.getenv "LISTEN_FDS", os.getenv "LISTEN_PID", os.getenv "LISTEN_FDNAMES")
  end,
  endpoints = { ["/"] = { handle_message = function(conn, message) conn:send(message) end } },
}
]]

describe("socket activation", function()
  local folder
  -- sockets of this process, which closes them at the end: it is the systemd here
  local open_sockets

  before_each(function()
    folder = process.make_directory()
    open_sockets = {}
  end)

  after_each(function()
    stream.close_all()
    for _, each in ipairs(open_sockets) do each:close() end
    process.remove_directory(folder)
  end)

  local function keep_open(each)
    open_sockets[#open_sockets + 1] = each
    return each:getfd()
  end

  -- A listening socket of 127.0.0.1: its descriptor and its port.
  local function tcp()
    local listener = assert(socket.bind("127.0.0.1", 0))
    return keep_open(listener), math.tointeger(tonumber((select(2, listener:getsockname()))))
  end

  local function unix_at(path)
    local listener = assert(unix.stream())
    assert(listener:bind(path))
    assert(listener:listen(16))
    return keep_open(listener)
  end

  local function start(options)
    options.app = options.app or APP
    return server.start(options)
  end

  local function greeting(address)
    local url = address.path and "ws+unix:" .. address.path .. ":/"
      or ("ws://127.0.0.1:%d/"):format(address.port)
    local ada = assert(client.connect(url))
    assert.equal("hello", (ada:ask("hello")))
    assert.equal(1000, (ada:close(1000)))
  end

  -- It must not start, and say why.
  local function assert_refused(options, ...)
    options.app = options.app or APP
    local code, log = server.launch_to_end(options)
    assert.equal(2, code, log)
    for _, word in ipairs { ... } do assert.is_truthy(log:find(word, 1, true), log) end
  end

  it("uses all sockets where no address is asked for, and opens none", function()
    local fd, port = tcp()
    local path = folder .. "/app.sock"
    local app <close> = start({ sockets = { fd, unix_at(path) }, listen = {} })
    assert.same({ { host = "127.0.0.1", port = port }, { path = path } }, app.addresses)
    for _ = 1, 8 do -- (so many that each worker gets some)
      greeting({ port = port })
      greeting({ path = path })
    end
    assert.same({ { host = "127.0.0.1", port = port } }, app.process:listening())
    -- scripts do not see them
    assert.same({ "variables", n = 4 }, app:events("variables")[1])
  end)

  it("uses passed sockets of its addresses, opens the others, and reports unused ones", function()
    local fd, port = tcp()
    local other, other_port = tcp()
    local app <close> = start({
      sockets = { other, fd },
      listen = { "127.0.0.1:0", "127.0.0.1:" .. port },
    })
    assert.equal(2, #app.addresses)
    assert.equal(port, app.addresses[2].port)
    assert.not_equal(other_port, app.addresses[1].port)
    greeting(app.addresses[1])
    greeting(app.addresses[2])
    local line = app:log_lines("event=not_wanted")[1]
    assert.is_truthy(line and line:find("127.0.0.1:" .. other_port, 1, true), app:log())
  end)

  it("takes the app's own addresses for asked for as well", function()
    local fd, port = tcp()
    local unused = tcp()
    local app <close> = start({
      sockets = { unused, fd },
      app = ("return { endpoints = { ['/'] = { handle_message = function(c, m) c:send(m) end } }, "
        .. "listen = '127.0.0.1:%d' }"):format(port),
      listen = {},
    })
    assert.same({ { host = "127.0.0.1", port = port } }, app.addresses)
    greeting({ port = port })
  end)

  it("loses no connection that comes while there is no server", function()
    local fd, port = tcp()
    local ended = {}
    for _ = 1, 3 do
      local peer = assert(stream.connect({ host = "127.0.0.1", port = port }))
      peer:write("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
      local app = start({ sockets = { fd }, listen = {} })
      assert.equal(404, assert(http.read_response(peer)).status)
      app:signal("sigterm")
      assert.equal(0, app.process:wait_exit())
      ended[#ended + 1] = app
    end
    for _, app in ipairs(ended) do app:stop() end
  end)

  it("serves accepted connections to the end; the next process accepts new ones", function()
    local fd = tcp()
    local app <close> = start({ sockets = { fd }, listen = {} })
    local before = app.process:fd_count()
    local peer = assert(stream.connect(app.addresses[1]))
    assert.is_truthy(loop.wait_until(function() return app.process:fd_count() > before end))
    app:signal("sigterm")
    assert.is_truthy(app:wait_for_log("event=draining"))
    peer:write((client.handshake("/")))
    assert.equal(101, assert(http.read_response(peer)).status)
    peer:wait_end()
    assert.is_truthy(peer:peek():find("\3\233", 1, true), "no 1001") -- 0x03e9
  end)

  it("leaves systemd's socket file where it is", function()
    local path = folder .. "/app.sock"
    local fd = unix_at(path)
    for _ = 1, 2 do
      local app = start({ sockets = { fd }, listen = { "unix:" .. path } })
      greeting({ path = path })
      app:stop()
      assert.is_truthy(uv.fs_stat(path))
    end
  end)

  it("gives the admin address the socket that has its address, or its name", function()
    local fd, port = tcp()
    local admin, admin_port = tcp()
    do
      local app <close> = start({
        sockets = { admin, fd },
        listen = {},
        options = { "--admin", "127.0.0.1:" .. admin_port },
      })
      assert.same({ { host = "127.0.0.1", port = port } }, app.addresses)
      assert.equal(200, http.request(app.admin, "/readyz").status)
    end
    local app <close> = start({
      sockets = { fd, admin },
      listen = {},
      environment = { LISTEN_FDNAMES = "web:admin" },
    })
    assert.same({ { host = "127.0.0.1", port = port } }, app.addresses)
    assert.same({ host = "127.0.0.1", port = admin_port }, app.admin)
    assert.equal(200, http.request(app.admin, "/readyz").status)
  end)

  it("does not start with a descriptor that cannot listen, and names it", function()
    local datagrams = assert(socket.udp())
    assert(datagrams:setsockname("127.0.0.1", 0))
    local connected = assert(unix.stream())
    local path = folder .. "/app.sock"
    local fd = unix_at(path)
    assert(connected:connect(path))
    local file = assert(uv.fs_open(folder .. "/file", "w", 420))
    assert_refused({ sockets = { fd, keep_open(datagrams) }, listen = {} }, "descriptor 4",
      "no stream socket")
    assert_refused({ sockets = { keep_open(connected) }, listen = {} }, "descriptor 3",
      "does not listen", "Accept=no")
    assert_refused({
      sockets = { fd, file }, listen = {}, environment = { LISTEN_FDNAMES = "a:b" },
    },
      "descriptor 4, b", "no socket")
    uv.fs_close(file)
    assert_refused({ sockets = { fd }, listen = {}, environment = { LISTEN_FDS = "many" } },
      "LISTEN_FDS", "many")
    assert_refused({ sockets = { fd }, listen = {}, environment = { LISTEN_FDS = "3" } },
      "descriptor")
  end)

  it("takes nothing that is meant for another process", function()
    local app <close> = start({ environment = { LISTEN_FDS = "1", LISTEN_PID = "1" } })
    assert.equal(1, #app.addresses)
    greeting(app.addresses[1])
    assert.same({ "variables", n = 4 }, app:events("variables")[1])
  end)
end)

-- listening_spec.lua -- the server's addresses: several of them, IPv6, unix sockets, free ports;
-- and that it listens on no other.

local client = require "support.client"
local http = require "support.http"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

local APP = [[
return {
  endpoints = {
    ["/"] = {
      on_start = function(conn)
        conn:send(conn.remote_address .. " " .. tostring(conn.request.remote_address))
      end,
      handle_message = function(conn, message) conn:send(message) end,
    },
  },
  http = { ["/"] = function(request) return request.remote_address end },
}
]]

local function is_loopback(host)
  return host:find("^127%.") ~= nil or host == "0:0:0:0:0:0:0:1" or host == "0:0:0:0:0:ffff:7f00:1"
end

describe("listening", function()
  after_each(stream.close_all)

  it("on several addresses serves all of them, TCP, IPv6 and unix", function()
    local app <close> = server.start({
      app = APP,
      listen = { "127.0.0.1:0", "[::1]:0", "unix:app.sock", "127.0.0.1:0" },
    })
    assert.equal(4, #app.addresses)
    assert.equal("::1", app.addresses[2].host)
    assert.is_truthy(app.addresses[3].path:find("app.sock$"))
    if not app.addresses[3].path:find("^/") then
      app.addresses[3].path = app.directory .. "/" .. app.addresses[3].path
    end
    for number, address in ipairs({ "127.0.0.1", "::1", "unix", "127.0.0.1" }) do
      local ada = assert(client.connect(app:url("/", number)))
      assert.equal(address .. " " .. address, (ada:receive()))
      assert.equal("hello", (ada:ask("hello")))
      assert.equal(address, http.request(app.addresses[number], "/").body)
      assert.equal(1000, (ada:close(1000)))
    end
    assert.not_equal(app.addresses[1].port, app.addresses[4].port)
  end)

  it("is on this machine only, unless asked otherwise", function()
    for _, listen in ipairs({ { "127.0.0.1:0" }, { "0" }, { "localhost:0" }, { "[::1]:0" } }) do
      local app <close> =
        server.start({ app = APP, listen = listen, options = { "--admin", "127.0.0.1:0" } })
      local found = app.process:listening()
      assert.is_true(#found >= 2)
      for _, each in ipairs(found) do
        assert.is_true(is_loopback(each.host), listen[1] .. " opened " .. each.host)
      end
    end
  end)

  it("logs the port that the system chose", function()
    local app <close> = server.start({ app = APP })
    local found = app.process:listening()
    assert.equal(app.workers, #found) -- each worker has a socket
    for _, each in ipairs(found) do assert.equal(app.addresses[1].port, each.port) end
    assert.is_true(found[1].port > 0)
  end)

  it("on a port that is taken fails, and says which", function()
    local app <close> = server.start({ app = APP })
    local address = "127.0.0.1:" .. app.addresses[1].port
    local second = server.launch({ app = APP, listen = { address } })
    local code = second.process:wait_exit()
    local log = second:log()
    second:kill()
    assert.is_true(code == 1 or code == 2, tostring(code))
    assert.is_truthy(log:find(address, 1, true), log)
    assert.is_truthy(log:find("in use", 1, true), log)
    assert.equal(1, select(2, log:gsub("cannot listen", "")), "said once")
    assert.is_truthy(log:find(("process %d, listens there"):format(app.pid), 1, true), log)
    assert.equal("still mine", select(1, app:connect():ask("x")) and "still mine")
  end)

  it("on a unix socket cleans up after itself, and after a server that was killed", function()
    local folder = process.make_directory()
    local path = folder .. "/app.sock"
    local function exists() return os.rename(path, path) ~= nil end
    do
      local app <close> = server.start({ app = APP, listen = { "unix:" .. path } })
      assert.is_true(exists())
      local second = server.launch({ app = APP, listen = { "unix:" .. path } })
      assert.is_true(second.process:wait_exit() ~= 0, "two servers on one socket")
      second:kill()
      assert.equal("unix unix", (assert(client.connect(app:url())):receive()))
    end
    assert.is_false(exists(), "the socket was left behind")
    local killed = server.start({ app = APP, listen = { "unix:" .. path } })
    killed:kill()
    assert.is_true(exists())
    do
      local app <close> = server.start({ app = APP, listen = { "unix:" .. path } })
      assert.equal("unix unix", (assert(client.connect(app:url())):receive()))
    end
    process.write_file(path, "not a socket")
    local wrong = server.launch({ app = APP, listen = { "unix:" .. path } })
    assert.is_true(wrong.process:wait_exit() ~= 0)
    local log = wrong:log()
    wrong:kill()
    assert.equal("not a socket", process.read_file(path), "a file that is no socket was removed")
    assert.is_truthy(log:find("it is no socket", 1, true), log)
    process.remove_directory(folder)
  end)

  it("on a unix socket whose program is too busy to accept fails without waiting", function()
    local unix = require "socket.unix"
    local folder = process.make_directory()
    local path = folder .. "/app.sock"
    local busy, waiting = unix(), {}
    assert(busy:bind(path))
    assert(busy:listen(0))
    repeat -- until its queue is full
      waiting[#waiting + 1] = unix()
      waiting[#waiting]:settimeout(0)
    until not waiting[#waiting]:connect(path)
    local code, log = server.launch_to_end({ app = APP, listen = { "unix:" .. path } })
    for _, each in ipairs(waiting) do each:close() end
    busy:close()
    assert.equal(1, code)
    assert.is_truthy(log:find(("process %d, listens there"):format(uv.os_getpid()), 1, true), log)
    process.remove_directory(folder)
  end)

  it("again on the same port at once after a stop and after a kill", function()
    local first = server.start({ app = APP })
    local address = "127.0.0.1:" .. first.addresses[1].port
    local ada = first:connect()
    ada:send_text("x")
    first:kill()
    ada:drop()
    local second = server.start({ app = APP, listen = { address } })
    second:connect():ask("x")
    second:stop()
    local third <close> = server.start({ app = APP, listen = { address } })
    third:connect()
  end)

  it("on an address that is none is refused, with what would be right", function()
    for _, address in ipairs({
      "nowhere", "127.0.0.1", "127.0.0.1:99999", "1.2.3:80", "[::1", "unix:", "example.com:80", "",
    }) do
      local app = server.launch({ app = APP, listen = { address } })
      local code = app.process:wait_exit()
      local log = app:log()
      app:kill()
      assert.equal(2, code, address)
      assert.is_truthy(log:find(address, 1, true), log)
    end
  end)
end)

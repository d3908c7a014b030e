-- standard_streams_spec.lua -- a program that is started without some of the descriptors 0, 1 and 2
-- serves, reloads, upgrades and ends like any other, and none of its files or sockets gets their
-- numbers.

local http = require "support.http"
local process = require "support.process"
local server = require "support.server"
local socket = require "socket"
local stream = require "support.stream"
local uv = require "luv"

local APP = [[
return {
  endpoints = {
    ["/"] = {
      handle_message = function(conn, message)
        print("to the standard output")
        io.stderr:write("to the standard error\n")
        conn:send(message .. tostring(io.read()))
      end,
    },
  },
  http = { ["/shell"] = function() return io.popen("echo out; echo err >&2; cat"):read("a") end },
}
]]

-- Every set of missing ones.
local WAYS = { { 0 }, { 1 }, { 2 }, { 0, 1 }, { 0, 2 }, { 1, 2 }, { 0, 1, 2 } }

describe("without descriptors", function()
  after_each(stream.close_all)

  local function start(closed, options)
    options = options or {}
    options.app, options.closed = APP, closed
    options.options = options.options or {}
    -- which the test kit reads
    table.move({ "--log-file", "stderr" }, 1, 2, #options.options + 1, options.options)
    return server.start(options)
  end

  local function expect_null_devices(app, closed)
    for _, descriptor in ipairs(closed) do
      assert.equal("/dev/null", uv.fs_readlink(("/proc/%d/fd/%d"):format(app.pid, descriptor)))
    end
  end

  for _, closed in ipairs(WAYS) do
    local name = table.concat(closed, ", ")

    it(name .. " a server serves, reloads and ends", function()
      local app <close> = start(closed)
      expect_null_devices(app, closed)
      local ada = app:connect("/")
      assert.equal("hello nil", (ada:ask("hello ")))
      assert.equal("out\n", app:http("/shell").body)
      app:signal("sighup")
      assert.is_truthy(app:wait_for_log("event=reloaded"))
      assert.equal("again nil", (ada:ask("again ")))
    end)

    it(name .. " a command ends as ever", function()
      local folder = process.make_directory()
      local closing = ""
      for _, descriptor in ipairs(closed) do closing = closing .. (" %d>&-"):format(descriptor) end
      local function code(args)
        local command = ('exec "$0" %s%s'):format(args, closing)
        return process.run("/bin/sh",
          { args = { "-c", command, server.binary() }, directory = folder }).code
      end
      assert.equal(0, code("new app"))
      assert.equal(0, code("check app/app.lua"))
      assert.equal(0, code("--version"))
      assert.equal(1, code("reload --pid-file nowhere"))
      assert.equal(2, code("check nowhere.lua"))
      assert.equal(2, code("nowhere.lua"))
      process.remove_directory(folder)
    end)
  end

  it("sockets of systemd's are used", function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local app = start({ 0, 1, 2 }, { listen = {}, sockets = { listener:getfd() } })
    local port = math.tointeger(tonumber((select(2, listener:getsockname()))))
    assert.equal(port, app.addresses[1].port)
    expect_null_devices(app, { 0, 1, 2 })
    assert.equal("hello nil", (app:connect("/"):ask("hello ")))
    app:stop()
    listener:close()
  end)

  it("the sockets of another process are taken over", function()
    local folder = process.make_directory()
    local pid_file = folder .. "/pid"
    local old = start({ 0, 1, 2 }, { options = { "--pid-file", pid_file } })
    local new =
      start({ 0, 1, 2 }, { options = { "--pid-file", pid_file, "--upgrade" }, listen = {} })
    old:stop()
    assert.equal(old.addresses[1].port, new.addresses[1].port)
    expect_null_devices(new, { 0, 1, 2 })
    assert.equal("out\n", assert(http.request(new.addresses[1], { path = "/shell" })).body)
    new:stop()
    process.remove_directory(folder)
  end)
end)

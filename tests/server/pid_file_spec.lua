-- pid_file_spec.lua -- the file with the process's number: the server writes to no other process's
-- file, and of two servers with the same file only one runs.

local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

local APP = "return { handle_message = function(conn, message) conn:send(message) end }"

describe("a pid file", function()
  local folder, pid_file

  before_each(function()
    folder = process.make_directory()
    pid_file = folder .. "/pid"
  end)
  after_each(function()
    stream.close_all()
    process.remove_directory(folder)
  end)

  --- A server that cannot start. Returns its log.
  local function refused()
    local code, log = server.launch_to_end({ app = APP, options = { "--pid-file", pid_file } })
    assert.is_truthy(code and code ~= 0, "it started, or was killed:\n" .. log)
    assert.is_truthy(log:find(pid_file, 1, true), log)
    return log
  end

  local function start()
    local app = server.start({ app = APP, options = { "--pid-file", pid_file } })
    assert.equal(app.pid, tonumber(process.read_file(pid_file)))
    return app
  end

  it("that is a link is refused, and its target is left alone", function()
    process.write_file(folder .. "/victim", "precious\n")
    for _, target in ipairs { "victim", "missing", "/etc/passwd" } do
      assert(uv.fs_symlink(target, pid_file))
      assert.matches("symbolic link", refused())
      assert.equal(target, uv.fs_readlink(pid_file))
      os.remove(pid_file)
    end
    assert.equal("precious\n", process.read_file(folder .. "/victim"))
    assert.is_nil(uv.fs_stat(folder .. "/missing"))
  end)

  it("does not follow a link at the name under which it is written first", function()
    process.write_file(folder .. "/victim", "precious\n")
    process.write_file(folder .. "/app.lua", APP)
    local child = process.start("/bin/sh", {
      args = {
        "-c", "ln -s victim pid.$$; exec \"$0\" app.lua --listen 127.0.0.1:0 --pid-file pid",
        server.binary(),
      },
      directory = folder, stderr = folder .. "/log",
    })
    assert.is_truthy(loop.wait_until(function()
      return (process.read_file(folder .. "/log") or ""):find("event=ready", 1, true)
        or child.exit_code
    end))
    assert.equal(child.pid, tonumber(process.read_file(pid_file)))
    child:signal("sigterm")
    assert.equal(0, child:wait_exit())
    assert.equal("precious\n", process.read_file(folder .. "/victim"))
  end)

  it("that holds something else, or is no file, is left alone", function()
    for _, text in ipairs {
        "return {}", "12 monkeys", "-5", "0", "1.5", ("1"):rep(100),
        "99999999999999999999", "\0" } do
      process.write_file(pid_file, text)
      assert.matches("no pid file", refused())
      assert.equal(text, process.read_file(pid_file))
    end
    os.remove(pid_file)
    assert(uv.fs_mkdir(pid_file, 448))
    refused()
    assert(uv.fs_rmdir(pid_file))
    os.execute(("mkfifo '%s'"):format(pid_file))
    assert.matches("no regular file", refused())
  end)

  it("of a process that has ended is replaced", function()
    local dead = process.run("/bin/true", {}) -- its number is free, or a later process's
    assert.equal(0, dead.code)
    for _, text in ipairs { "", "\n", "4194303\n", "  4194303", "4194303" } do
      process.write_file(pid_file, text)
      start():stop()
      assert.is_nil(uv.fs_stat(pid_file))
    end
    local app = start()
    app:kill()
    assert.equal(app.pid, tonumber(process.read_file(pid_file)))
    start():stop()
  end)

  it("whose number a later process has got is replaced", function()
    process.write_file(pid_file, ("%d\n"):format(uv.os_getpid()))
    os.execute(("touch -d 2000-01-01 '%s'"):format(pid_file))
    start():stop()
  end)

  it("of another program that runs is left alone", function()
    local text = ("%d\n"):format(uv.os_getpid())
    process.write_file(pid_file, text)
    assert.matches(("that of process %d %%("):format(uv.os_getpid()), refused())
    assert.equal(text, process.read_file(pid_file))
  end)

  it("of a running server is left alone, also without its control socket", function()
    local app <close> = start()
    assert.matches("is running", refused())
    os.remove(pid_file .. ".sock")
    assert.matches(("is running %%(process %d%%)"):format(app.pid), refused())
    assert.equal(app.pid, tonumber(process.read_file(pid_file)))
    assert.is_true(app:is_alive())
  end)

  it("is got by one of several that start at once, with or without a leftover", function()
    for round = 1, 4 do
      if round % 2 == 0 then process.write_file(pid_file, "4194303\n") end
      local apps = {}
      for index = 1, 5 do
        apps[index] = server.launch({ app = APP, options = { "--pid-file", pid_file } })
      end
      local ready
      for _, app in ipairs(apps) do
        assert.is_truthy(loop.wait_until(function()
          return app.process.exit_code or app:log():find("event=ready", 1, true)
        end))
        if not app.process.exit_code then
          assert.is_nil(ready, "two servers run")
          ready = app
        end
      end
      assert.is_truthy(ready)
      assert.equal(ready.pid, tonumber(process.read_file(pid_file)))
      for _, app in ipairs(apps) do
        if app ~= ready then app:kill() end
      end
      ready:stop()
      assert.is_nil(uv.fs_stat(pid_file))
    end
  end)

  it("that another process has replaced is not removed", function()
    local app = start()
    assert(uv.fs_unlink(pid_file))
    process.write_file(pid_file, "1\n")
    app:stop()
    assert.equal("1\n", process.read_file(pid_file))
  end)
end)

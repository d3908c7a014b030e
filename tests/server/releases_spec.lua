-- releases_spec.lua -- an app that is deployed while it serves: new folders, a link that moves to
-- another release, deleted releases. The server looks up each name in the app by its path, each
-- time.

local certificates = require "support.certificates"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

local APP = [[
return {
  http = {
    ["/"] = { static = "public" },
    ["GET /code"] = function() return (require("part")) end,
  },
  endpoints = { ["/ws"] = { handle_message = function(conn, message) conn:send(message) end } },
}
]]

local function release(files, name)
  files[name .. "/app.lua"] = APP
  files[name .. "/part.lua"] = ("return 'code of %s'"):format(name)
  files[name .. "/public/index.html"] = "page of " .. name
end

local app

local function shell(command)
  assert(os.execute(("cd '%s' && %s"):format(app.directory, command)))
end

local function reload()
  local before = #app:log_lines("event=reloaded")
  app:signal("sighup")
  assert.is_truthy(loop.wait_until(function() return #app:log_lines("event=reloaded") > before end),
    app:log())
end

describe("static files", function()
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  it("are those of a folder that was removed and built anew, without a reload", function()
    app = server.start({ app = APP, files = {
      ["part.lua"] = "return 1", ["public/index.html"] = "first", ["public/old.js"] = "old",
    } })
    assert.equal("first", app:http("/").body)
    shell "rm -rf public"
    assert.equal(404, app:http("/").status)
    assert.equal(404, app:http("/old.js").status)
    shell "mkdir public && printf second > public/index.html"
    assert.equal("second", app:http("/").body)
    assert.equal(404, app:http("/old.js").status)
    -- each worker has said it once, however many asked
    assert.is_truthy(
      app:wait_for_log("event=static_failed .*public cannot be opened: No such file"))
    assert.is_true(#app:log_lines("event=static_failed") <= app.workers)
  end)

  it("are those of a folder that another was renamed over", function()
    app = server.start({
      app = APP, files = { ["part.lua"] = "return 1", ["public/index.html"] = "first" },
    })
    assert.equal("first", app:http("/").body)
    shell "mkdir next && printf second > next/index.html && mv public before && mv next public"
    assert.equal("second", app:http("/").body)
    shell "rm -rf before"
    assert.equal("second", app:http("/").body)
  end)

  it("of a folder that is a link are those of its present target", function()
    app = server.start({ app = APP, files = {
      ["part.lua"] = "return 1", ["public/index.html"] = "x",
      ["one/index.html"] = "one", ["two/index.html"] = "two", ["secret.txt"] = "never served",
    } })
    shell "rm -rf public && ln -s one public"
    assert.equal("one", app:http("/").body)
    shell "ln -s two next && mv -T next public && rm -rf one"
    assert.equal("two", app:http("/").body)
    shell "ln -s ../secret.txt two/secret.txt && ln -s / two/all"
    for _, path in ipairs { "/secret.txt", "/all/etc/passwd", "/../secret.txt" } do
      assert.is_true(app:http(path).status >= 400, path)
    end
  end)
end)

describe("a release link that is moved", function()
  after_each(function()
    stream.close_all()
    app:stop()
  end)

  it("serves the new release after SIGHUP, and the old one can be deleted", function()
    local files = {}
    release(files, "one")
    release(files, "two")
    app = server.start({ app_path = "current/app.lua", files = files, prepare = function(folder)
      assert(os.execute(("ln -s one '%s/current'"):format(folder)))
    end })
    assert.same({ "code of one", "page of one" }, { app:http("/code").body, app:http("/").body })
    shell "ln -s two next && mv -T next current"
    reload()
    assert.same({ "code of two", "page of two" }, { app:http("/code").body, app:http("/").body })
    shell "rm -rf one"
    assert.same({ "code of two", "page of two" }, { app:http("/code").body, app:http("/").body })
    reload()
    assert.same({ "code of two", "page of two" }, { app:http("/code").body, app:http("/").body })
  end)
end)

describe("files that are not there any more", function()
  after_each(stream.close_all)

  it("are made again at a reload, or reported, and another process's are not removed", function()
    local folder = process.make_directory()
    local function start(...)
      return server.start({
        app = APP, files = { ["part.lua"] = "return 1", ["public/index.html"] = "x" },
        listen = { "127.0.0.1:0", ("unix:%s/app.sock"):format(folder) }, options = { ... },
      })
    end
    app = start("--pid-file", "pid")
    reload()
    assert.same({}, app:log_lines("event=lost_file"))
    shell(("rm %s/app.sock pid pid.sock && echo 1 > pid"):format(folder))
    reload()
    assert.equal(1, #app:log_lines("event=lost_file .*app%.sock"))
    assert.equal(2, #app:log_lines("event=lost_file"))
    assert.equal(1, #app:log_lines("event=lost_file .*that of process 1 "))
    shell "rm pid"
    reload()
    assert.equal(app.pid, tonumber(process.read_file(app.directory .. "/pid")))
    assert.equal(0, server.run({ "reload", "--pid-file", app.directory .. "/pid" }).code)
    local code, log =
      server.launch_to_end({ app = APP, options = { "--pid-file", app.directory .. "/pid" },
      files = { ["part.lua"] = "return 1", ["public/index.html"] = "x" } })
    assert.equal(1, code)
    assert.matches("is running", log)
    -- a later server is at the place of the first
    local later = start()
    app:stop()
    assert.is_truthy(uv.fs_stat(folder .. "/app.sock"))
    later:stop()
    assert.is_nil(uv.fs_stat(folder .. "/app.sock"))
    process.remove_directory(folder)
  end)
end)

describe("a working folder that is deleted", function()
  it("is reported at a reload, and the code goes on", function()
    local folder = process.make_directory()
    assert(uv.fs_mkdir(folder .. "/here", 448))
    process.write_file(folder .. "/here/app.lua", "return { handle_message = function() end }")
    local child = process.start(server.binary(), {
      args = { "app.lua", "--listen", "127.0.0.1:0" }, directory = folder .. "/here",
      stderr = folder .. "/log",
    })
    local function logs(pattern)
      return loop.wait_until(function()
        return (process.read_file(folder .. "/log") or ""):match(pattern)
      end)
    end
    assert.is_truthy(logs("event=ready"))
    os.execute(("rm -r '%s/here'"):format(folder))
    child:signal("sighup")
    assert.is_truthy(logs("event=lost_file .*start the program with the whole path"))
    assert.is_truthy(logs("event=reload_failed"))
    child:signal("sigterm")
    assert.equal(0, child:wait_exit())
    process.remove_directory(folder)
  end)
end)

describe("certificates behind a link", function()
  it("are those of its target at the reload", function()
    local certificate, key = certificates.shared()
    app =
      server.start({ app = APP, files = { ["part.lua"] = "return 1", ["public/index.html"] = "x" },
      environment = {
        TIDEWIRE_TLS_CERTIFICATE = "live/cert.pem", TIDEWIRE_TLS_KEY = "live/key.pem",
      },
      prepare = function(folder)
        os.execute(("mkdir '%s/a' '%s/b' && ln -s a '%s/live'"):format(folder, folder, folder))
        for _, name in ipairs { "a", "b" } do
          process.write_file(folder .. "/" .. name .. "/cert.pem", process.read_file(certificate))
          process.write_file(folder .. "/" .. name .. "/key.pem", process.read_file(key))
        end
      end })
    shell "ln -s b next && mv -T next live && rm -rf a"
    reload()
    assert.equal("hi", (app:connect("/ws"):ask("hi")))
    stream.close_all()
    app:stop()
  end)
end)

-- log_spec.lua -- the log: its two formats, its levels, its file and the reopening of it, lines of
-- scripts, and that no client can forge a line.

local cjson = require "cjson"
local client = require "support.client"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
local tw = require "tidewire"
tw.log.info("loaded")
return {
  endpoints = {
    ["/"] = {
      handle_message = function(conn, message)
        local level, text = message:match("^(%a+) (.*)$")
        if level == "throw" then error(text) end
        tw.log[level](text,
          { number = 7, half = 0.5, yes = true, text = "two words", ["bad\nkey"] = "line\nbreak" })
        conn:send("logged")
      end,
      on_error = function() return false end,
    },
  },
}
]]

describe("the log", function()
  after_each(stream.close_all)

  it("as text is one event a line: time, level, worker, event, fields", function()
    local app <close> = server.start({ app = APP })
    assert.equal("logged", (app:connect():ask("info hello there")))
    for line in app:log():gmatch("[^\n]+") do
      assert.is_truthy(line:find("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ %l+ "), line)
      assert.is_truthy(line:find(" event=", 1, true), line)
    end
    local line = app:wait_for_log("hello there")
    assert.is_truthy(line:find(" info ", 1, true), line)
    for _, field in ipairs({ "number=7", "half=0.5", "yes=true", 'text="two words"' }) do
      assert.is_truthy(line:find(field, 1, true), field .. " is not in " .. line)
    end
    assert.is_truthy(app:wait_for_log("loaded"))
  end)

  it("as JSON is one object a line with the same fields", function()
    local app <close> = server.start({ app = APP, options = { "--log-format", "json" } })
    assert.equal("logged", (app:connect():ask("warn hello there")))
    assert.is_truthy(app:wait_for_log("hello there"))
    local found
    for line in app:log():gmatch("[^\n]+") do
      local entry = cjson.decode(line)
      assert.is_string(entry.time)
      assert.is_string(entry.level)
      assert.is_string(entry.event)
      if line:find("hello there", 1, true) then found = entry end
    end
    assert.equal("warn", found.level)
    assert.equal(7, found.number)
    assert.is_true(found.yes)
    assert.equal("two words", found.text)
  end)

  it("has levels", function()
    local app <close> = server.start({ app = APP, options = { "--log-level", "info" } })
    local ada = app:connect()
    for _, level in ipairs({ "debug", "info", "warn", "error" }) do
      ada:ask(level .. " message-" .. level)
    end
    assert.is_truthy(app:wait_for_log("message%-error"))
    assert.equal(0, #app:log_lines("message%-debug"))
    for _, level in ipairs({ "info", "warn", "error" }) do
      assert.is_truthy(app:log_lines("message%-" .. level)[1]:find(" " .. level .. " ", 1, true))
    end
    local chatty <close> = server.start({ app = APP, options = { "--log-level", "debug" } })
    chatty:connect():ask("debug message-debug")
    assert.is_truthy(chatty:wait_for_log("message%-debug"))
  end)

  it("cannot be forged by what clients send", function()
    for _, format in ipairs({ "text", "json" }) do
      local app <close> =
        server.start({ app = APP, options = { "--log-format", format, "--log-level", "debug" } })
      local forged = "\n2026-01-01T00:00:00.000Z info event=forged\r\27[31m\0\u{2028}\""
      local ada = app:connect("/?x=%0Aevent=forged&y=%22%20event=forged", {
        headers = { ["User-Agent"] = 'x" event=forged', Cookie = "session=secret-cookie" },
      })
      ada:ask("info " .. forged)
      ada:send_text("throw " .. forged)
      ada:ask("info last-line")
      ada:close(3000, "bye\nevent=forged")
      client.connect(app:url("/%0Aevent=forged"))
      assert.is_truthy(app:wait_for_log("last%-line"))
      loop.pass(0.05)
      for line in app:log():gmatch("[^\n]+") do
        assert.is_nil(line:find("^2026%-01%-01"), line)
        assert.is_nil(line:find("[\0-\8\11-\31]"), ("%q"):format(line))
        if format == "json" then
          assert.not_equal("forged", cjson.decode(line).event)
        else
          -- Outside of quotes, what a client sent stands nowhere.
          local unquoted = line:gsub('\\"', ""):gsub('"[^"]*"', "")
          assert.is_nil(unquoted:find("forged", 1, true), line)
        end
      end
      assert.is_nil(app:log():find("secret-cookie", 1, true), "the log tells secrets")
    end
  end)

  it("has no payloads by itself, and no tokens of URLs", function()
    local app <close> = server.start({ app = APP, options = { "--log-level", "debug" } })
    local ada = app:connect("/?token=top-secret-token",
      { headers = { Authorization = "Bearer top-secret-token" } })
    ada:send_text("info public")
    ada:send_text("nonsense top-secret-payload")
    ada:send_close(1000)
    assert.is_truthy(app:wait_for_log("public"))
    ada:wait_closed()
    assert.is_nil(app:log():find("top-secret-token", 1, true))
  end)

  it("may go to a file, which SIGUSR1 opens anew", function()
    local folder = process.make_directory()
    local path = folder .. "/tidewire.log"
    local app = server.launch({ app = APP, options = { "--log-file", path } })
    local function wait_for(text)
      assert.is_truthy(loop.wait_until(function()
        return (process.read_file(path) or ""):find(text, 1, true)
      end), text .. " is not in " .. tostring(process.read_file(path)))
    end
    wait_for("event=ready")
    local port = process.read_file(path):match("address=127%.0%.0%.1:(%d+)")
    local ada = assert(client.connect("ws://127.0.0.1:" .. port .. "/"))
    ada:ask("info before-the-move")
    wait_for("before-the-move")
    assert(os.rename(path, path .. ".1"))
    app:signal("sigusr1")
    assert.is_truthy(loop.wait_until(function() return process.read_file(path) end))
    wait_for("event=log_reopened")
    ada:ask("info after-the-move")
    wait_for("after-the-move")
    assert.is_nil(process.read_file(path .. ".1"):find("after-the-move", 1, true))
    ada:drop()
    app:stop()
    process.remove_directory(folder)
  end)

  it("that cannot be opened fails the start", function()
    local app = server.launch({ app = APP, options = { "--log-file", "/nowhere/tidewire.log" } })
    local code = app.process:wait_exit()
    local log = app:log()
    app:kill()
    assert.is_true(code == 1 or code == 2)
    assert.is_truthy(log:find("/nowhere/tidewire.log", 1, true), log)
  end)

  it("survives SIGUSR1 while it goes to the standard error", function()
    local app <close> = server.start({ app = APP })
    app:signal("sigusr1")
    assert.equal("logged", (app:connect():ask("info still here")))
    assert.is_truthy(app:wait_for_log("still here"))
  end)

  it("does not get print and io.write: they write to the standard output at once", function()
    local app <close> = server.start({ app = [[print("printed") io.write("written\n") return {}]] })
    -- Once in each worker. Lines of several may come in any order, but each in one piece.
    local function lines(text)
      local count = select(2, app:output():gsub("%f[^\n\0]" .. text .. "\n", ""))
      return count
    end
    assert.is_truthy(loop.wait_until(function()
      return lines("printed") == app.workers and lines("written") == app.workers
    end), app:output())
    assert.equal(app.workers * #"printed\nwritten\n", #app:output())
    assert.equal(0, #app:log_lines("printed"))
  end)

  it("keeps each print whole, also when others print at the same time", function()
    local app <close> = server.start({ app = [[
      local tw = require "tidewire"
      tw.after(0, function()
        for number = 1, 5000 do print("worker " .. tw.worker, number, nil, true) end
        print("end")
      end)
      return {}
    ]] })
    assert.is_truthy(loop.wait_until(function()
      return select(2, app:output():gsub("end\n", "")) == app.workers
    end))
    local last = {}
    for line in app:output():gmatch("[^\n]*\n") do
      local worker, number = line:match("^worker (%d)\t(%d+)\tnil\ttrue\n$")
      if worker then
        assert.equal((last[worker] or 0) + 1, tonumber(number))
        last[worker] = tonumber(number)
      else
        assert.equal("end\n", line)
      end
    end
    for worker = 0, app.workers - 1 do assert.equal(5000, last[tostring(worker)]) end
  end)
end)

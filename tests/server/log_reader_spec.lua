-- log_reader_spec.lua -- a log with a slow reader or none, or whose file cannot grow: nothing waits
-- for it, lost lines are counted and reported, and clients cannot make it grow as they like.

local cjson = require "cjson"
local client = require "support.client"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

local APP = [[
local tw = require "tidewire"
local number = 0
return {
  endpoints = {
    ["/"] = {
      handle_message = function(conn, message)
        local count, size = message:match("^log (%d+) (%d+)$")
        if message == "abort" then
          for i = 1, 100 do tw.log.info("before the abort", { number = i }) end
          local uv = require "luv"
          uv.kill(uv.os_getpid(), "sigabrt")
        elseif message == "exit" then
          for i = 1, 100 do tw.log.info("before the exit", { number = i }) end
          os.exit(3)
        elseif message == "write" then
          io.write(("x"):rep(5000000))
        elseif message == "begin" then
          io.write(("x"):rep(3500))
        elseif message == "error" then
          error(("x"):rep(5000000))
        elseif message:find("^print") then
          for _ = 1, 100 do
            number = number + 1
            print(("."):rep(1000), number)
          end
        elseif count then
          for _ = 1, count do
            number = number + 1
            tw.log.info(("."):rep(size), { number = number, of = tw.worker })
          end
        end
        conn:send("done")
      end,
      on_error = function() return false end,
    },
  },
}
]]

describe("a log", function()
  local folder, fifo, app

  before_each(function()
    folder = process.make_directory()
    fifo = folder .. "/log"
    os.execute(("mkfifo '%s'"):format(fifo))
    app = nil
  end)

  after_each(function()
    stream.close_all()
    if app then app:kill() end
    process.remove_directory(folder)
  end)

  -- A server whose log goes into the FIFO, which this process holds open; it listens on sockets in
  -- its own folder.
  local function start(options)
    options.app, options.stderr = APP, not options.own and fifo or nil
    if options.stdout then options.stderr = nil end
    options.listen = { "unix:socket" }
    options.options = options.options or {}
    table.move({ "--admin", "unix:admin" }, 1, 2, #options.options + 1, options.options)
    app = server.launch(options)
    app.addresses = { { path = app.directory .. "/socket" } }
    app.admin = { path = app.directory .. "/admin" }
    assert.is_truthy(loop.wait_until(function()
      if not uv.fs_stat(app.admin.path) then return false end
      -- it may not listen yet
      local asked, response = pcall(http.request, app.admin, { path = "/readyz" })
      return asked and response and response.status == 200
    end))
    return app
  end

  local function figure(name)
    local body = assert(http.request(app.admin, { path = "/metrics" })).body
    return math.tointeger(tonumber(body:match("\n" .. name .. " (%d+)")))
  end

  -- The FIFO, opened for both so that neither end waits for the other. A reader of it: `text`
  -- grows.
  local function open_fifo()
    return assert(uv.fs_open(fifo, uv.constants.O_RDWR + uv.constants.O_NONBLOCK, 0))
  end

  local function read_on(fd, reader)
    local piece = uv.fs_read(fd, 65536)
    while piece and piece ~= "" do
      reader.pieces[#reader.pieces + 1] = piece
      piece = uv.fs_read(fd, 65536)
    end
  end

  local function text_of(reader) return table.concat(reader.pieces) end

  local function wait_for(fd, reader, pattern)
    return loop.wait_until(function()
      read_on(fd, reader)
      return text_of(reader):find(pattern)
    end)
  end

  for _, format in ipairs({ "text", "json", "pretty" }) do
    it("as " .. format .. " without a reader blocks nothing, and the next gets a count", function()
      local fd = open_fifo()
      start({ options = { "--log-format", format } })
      local ada = app:connect("/")
      repeat
        assert.equal("done", (ada:ask("log 100 1000")))
      until figure("tidewire_log_lines_dropped_total") > 500
      assert.is_true(figure("tidewire_log_waiting_bytes") <= 1024 * 1024)
      local reader = { pieces = {} }
      local dropped = format == "pretty" and " (%d+) lines of the log were dropped"
        or format == "json" and '"event":"log_dropped","lines":(%d+)'
        or "event=log_dropped lines=(%d+)"
      assert.is_truthy(wait_for(fd, reader, dropped))
      assert.equal("done", (ada:ask("log 1 1")))
      assert.is_truthy(wait_for(fd, reader, "number\"?[=:]%d+[^\n]*\n$"))
      local expected, missing = 1, 0
      for line in text_of(reader):gmatch("([^\n]*)\n") do
        if format == "json" then cjson.decode(line) end
        local lost, number = line:match(dropped), line:match("number\"?[=:](%d+)")
        if lost then
          expected = expected + tonumber(lost)
          missing = missing + tonumber(lost)
        elseif number then
          assert.equal(expected, tonumber(number), "out of order, or not told of")
          expected = expected + 1
        end
      end
      assert.equal(figure("tidewire_log_lines_dropped_total"), missing)
      uv.fs_close(fd)
    end)
  end

  it("is not waited for, nor is what scripts print", function()
    local fd = open_fifo()
    start({ stdout = fifo })
    local ada, reader, asked = app:connect("/"), { pieces = {} }, 1
    repeat
      assert.equal("done", (ada:ask("print")))
      asked = asked + 1
    until figure("tidewire_output_lines_dropped_total") > 500
    assert.is_truthy(loop.wait_until(function()
      read_on(fd, reader)
      return app:log():find("event=output_dropped lines=%d+ why=")
    end))
    assert.equal("done", (ada:ask("print")))
    local missing = 0
    for lines in app:log():gmatch("event=output_dropped lines=(%d+)") do
      missing = missing + tonumber(lines)
    end
    assert.equal(figure("tidewire_output_lines_dropped_total"), missing)
    local expected, jumped = 1, 0
    assert.is_truthy(loop.wait_until(function()
      read_on(fd, reader)
      return tonumber(text_of(reader):match("\t(%d+)\n$")) == asked * 100
    end))
    for line in text_of(reader):gmatch("([^\n]*)\n") do
      local number = tonumber(line:match("^" .. ("%."):rep(1000) .. "\t(%d+)$"))
      assert.is_truthy(number, line)
      jumped, expected = jumped + number - expected, number + 1
    end
    assert.equal(missing, jumped)
    uv.fs_close(fd)
  end)

  it("of several workers keeps the order of each", function()
    local fd = open_fifo()
    start({})
    local clients, reader = {}, { pieces = {} }
    for number = 1, 6 do clients[number] = app:connect("/") end
    for _ = 1, 10 do
      for _, each in ipairs(clients) do each:send_text("log 50 100") end
      for _, each in ipairs(clients) do
        assert.equal("done", (each:receive()))
        read_on(fd, reader)
      end
    end
    assert.is_truthy(loop.wait_until(function()
      read_on(fd, reader)
      return select(2, text_of(reader):gsub(" number=", "")) == 3000
    end))
    local last = {}
    for of, number in text_of(reader):gmatch(" number=(%d+) of=(%d+)") do
      assert.equal((last[number] or 0) + 1, tonumber(of))
      last[number] = tonumber(of)
    end
    uv.fs_close(fd)
  end)

  it("without a reader does not keep the server from ending", function()
    local fd = open_fifo()
    start({})
    local ada = app:connect("/")
    for _ = 1, 30 do assert.equal("done", (ada:ask("log 100 1000"))) end
    stream.close_all()
    app:signal("sigterm")
    assert.equal(0, app.process:wait_exit())
    uv.fs_close(fd)
  end)

  it("without a reader, like the output of scripts without one, does not keep SIGTERM "
    .. "from ending the process",
    function()
      local fd = open_fifo()
      start({ stdout = fifo, options = { "--drain-seconds", "1" } })
      local ada = app:connect("/")
      ada:send_text("write")
      -- the script waits in the write
      assert.is_truthy(loop.wait_until(function() return uv.fs_read(fd, 1) == "x" end))
      app:signal("sigterm")
      assert.same({ 1, 0 }, { app.process:wait_exit() })
      uv.fs_close(fd)
    end)

  it("ends without a reader of the output of scripts", function()
    local fd = open_fifo()
    start({ stdout = fifo })
    local ada = app:connect("/")
    repeat
      assert.equal("done", (ada:ask("print")))
    until figure("tidewire_output_lines_dropped_total") > 0
    assert.equal("done", (ada:ask("begin")))
    stream.close_all()
    app:signal("sigterm")
    assert.same({ 0, 0 }, { app.process:wait_exit() })
    uv.fs_close(fd)
  end)

  it("has at its end all that was written before, by exit, abort or a signal", function()
    for _, how in ipairs({ "exit", "abort", "sigterm" }) do
      local fd = open_fifo()
      start({})
      local ada, reader = app:connect("/"), { pieces = {} }
      if how == "sigterm" then
        assert.equal("done", (ada:ask("log 100 10")))
        app:signal("sigterm")
      else
        ada:send_text(how)
      end
      assert.is_truthy(loop.wait_until(function()
        read_on(fd, reader)
        return app.process.exit_code
      end))
      read_on(fd, reader)
      assert.equal(100, select(2, text_of(reader):gsub(" number=%d+", "")), how)
      if how == "sigterm" then assert.is_truthy(text_of(reader):find("event=stopped", 1, true)) end
      uv.fs_close(fd)
      app:kill()
    end
  end)

  it("without a reader does not keep a failed start from ending", function()
    local fd = open_fifo()
    uv.fs_write(fd, ("x"):rep(1024 * 1024)) -- as much as it takes
    local other = server.launch({ app = APP, stderr = fifo, listen = { "192.0.2.1:1" } })
    assert.equal(1, other.process:wait_exit())
    other:kill()
    uv.fs_close(fd)
  end)

  it("may be a FIFO without a reader, and one whose readers change", function()
    start({ own = true, options = { "--log-file", fifo } })
    local ada = app:connect("/")
    assert.equal("done", (ada:ask("log 10 10")))
    for round = 1, 3 do
      local fd = assert(uv.fs_open(fifo, uv.constants.O_RDONLY + uv.constants.O_NONBLOCK, 0))
      local reader = { pieces = {} }
      assert.is_truthy(wait_for(fd, reader, ("number=%d "):format(round * 10)))
      uv.fs_close(fd)
      assert.equal("done", (ada:ask("log 10 10")))
    end
    ada:drop()
    app:signal("sigterm")
    assert.equal(0, app.process:wait_exit())
  end)

  it("whose file cannot grow goes on when it can", function()
    start({ own = true, options = { "--log-file", "/dev/full" } })
    local ada = app:connect("/")
    repeat
      assert.equal("done", (ada:ask("log 100 1000")))
    until figure("tidewire_log_lines_dropped_total") > 0
    app:signal("sighup")
    assert.equal("done", (ada:ask("log 1 1")))
    ada:drop()
    app:signal("sigterm")
    assert.equal(0, app.process:wait_exit())
  end)

  it("has lines of a bounded length", function()
    for _, format in ipairs({ "text", "json" }) do
      local shouting <close> = server.start({ app = APP, options = { "--log-format", format } })
      local ada = shouting:connect("/")
      ada:send_text("error")
      assert.equal("done", (ada:ask("log 1 5000000")))
      assert.is_truthy(shouting:wait_for_log("number"))
      for line in shouting:log():gmatch("([^\n]*)\n") do
        assert.is_true(#line < 16 * 1024)
        if format == "json" then cjson.decode(line) end
      end
      assert.is_truthy(shouting:log():find("…%(%+499%d%d%d%d bytes%)"))
      ada:drop()
    end
  end)

  it("has only so many lines of what clients cause, and says how many more there were", function()
    local calm <close> = server.start({ app = APP, options = { "--admin", "127.0.0.1:0" } })
    for _ = 1, 432 do
      local ada = assert(client.connect(calm:url("/")))
      ada:send_raw("\x81\x01x") -- not masked
      ada:wait_closed()
      ada:drop()
    end
    local function count()
      local lines, suppressed = #calm:log_lines("event=closed"), 0
      for number in calm:log():gmatch("event=log_suppressed of=closed lines=(%d+)") do
        suppressed = suppressed + tonumber(number)
      end
      return lines, suppressed
    end
    assert.is_truthy(loop.wait_until(function()
      local lines, suppressed = count()
      return lines + suppressed == 432
    end), calm:log())
    local lines, suppressed = count()
    assert.is_true(suppressed > 0, lines .. " lines")
    local metrics = assert(http.request(calm.admin, { path = "/metrics" })).body
    assert.equal(suppressed, tonumber(metrics:match("\ntidewire_log_lines_suppressed_total (%d+)")))
  end)
end)

-- command_spec.lua -- the command line: --version, --help, `check`, `new`, and every wrong use of
-- it. An error has the problem, its place and advice; its exit code is 2.

local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local GOOD = [[
return { handle_message = function(conn, message) conn:send(message) end }
]]

describe("the command", function()
  local folder

  before_each(function() folder = process.make_directory() end)
  after_each(function()
    stream.close_all()
    process.remove_directory(folder)
  end)

  local function run(...)
    return server.run({ ... }, { directory = folder })
  end

  local function write(path, text)
    process.write_file(folder .. "/" .. path, text)
    return path
  end

  local function assert_usage_error(result, ...)
    assert.equal(2, result.code, result.stderr)
    assert.equal("", result.stdout)
    for _, text in ipairs({ ... }) do
      assert.is_truthy(result.stderr:find(text, 1, true),
        ("%q is not in: %s"):format(text, result.stderr))
    end
  end

  it("prints its version and its help", function()
    local result = run("--version")
    assert.equal(0, result.code)
    assert.is_truthy(result.stdout:find("%d+%.%d+%.%d+"), result.stdout)
    result = run("--help")
    assert.equal(0, result.code)
    for _, option in ipairs({
      "--listen", "--workers", "--log-level", "--log-format", "--pid-file", "--admin",
      "--drain-seconds", "check", "new",
    }) do
      assert.is_truthy(result.stdout:find(option, 1, true), option .. " is not in the help")
    end
    assert.equal("", result.stderr)
  end)

  it("without a file, with two, or with a missing one prints the usage", function()
    assert_usage_error(run(), "FILE")
    write("one.lua", GOOD)
    write("two.lua", GOOD)
    assert_usage_error(run("one.lua", "two.lua"), "two.lua")
    assert_usage_error(run("missing.lua"), "missing.lua")
    assert_usage_error(run("."), ".")
  end)

  it("names the nearest right option for a wrong one", function()
    write("app.lua", GOOD)
    assert_usage_error(run("app.lua", "--lisen", "127.0.0.1:0"), "--lisen", "--listen")
    assert_usage_error(run("app.lua", "--log-levl=debug"), "--log-levl", "--log-level")
    assert_usage_error(run("--verison"), "--verison", "--version")
    assert_usage_error(run("chek", "app.lua"), "chek", "check")
  end)

  it("takes app.lua of a folder, and of the one it is in", function()
    assert(os.execute(("mkdir '%s/empty'"):format(folder)))
    assert_usage_error(run(), "no app.lua in this folder", "tidewire new")
    assert_usage_error(run("empty"), "empty", "has no app.lua")
    write("app.lua", "error('of this folder')")
    for _, args in ipairs { {}, { "run" }, { "." }, { "check", "." }, { folder } } do
      assert_usage_error(run(table.unpack(args)), "app.lua:1: of this folder")
    end
    write("app.lua", GOOD)
    local app <close> = server.start({ app_path = folder })
    assert.equal("x", (app:connect():ask("x")))
  end)

  it("knows run, help and version, and what other servers call theirs", function()
    write("app.lua", "error('is run')")
    assert_usage_error(run("run", "app.lua", "--listen", "127.0.0.1:0"), "app.lua:1: is run")
    assert.equal(run("--help").stdout, run("help").stdout)
    assert.equal(run("--version").stdout, run("version").stdout)
    assert_usage_error(run("start"), '"start"', "did you mean tidewire run FILE?")
    assert_usage_error(run("serve", "app.lua"), "did you mean tidewire run app.lua?")
    assert_usage_error(run("init", "shop"), "did you mean tidewire new shop?")
    assert_usage_error(run("app.lua", "--port", "3000"), "did you mean --listen 127.0.0.1:3000?")
    write("app.lua", GOOD)
    assert_usage_error(run("app.lua", "--listen", "http://127.0.0.1:3000/"), '"127.0.0.1:3000"')
    assert_usage_error(run("app.lua", "--listen", "wss://127.0.0.1:3000"), '"127.0.0.1:3000"',
      "--tls-certificate")
    write("app.lua", "return { endpoints = {},\n listen = 'ws://localhost:3000' }")
    assert_usage_error(run("check", "app.lua"), "app.lua:2:", '"localhost:3000"')
  end)

  it("refuses options without a value, and values that are none", function()
    write("app.lua", GOOD)
    assert_usage_error(run("app.lua", "--listen"), "--listen")
    assert_usage_error(run("app.lua", "--log-level", "loud"), "loud", "debug")
    assert_usage_error(run("app.lua", "--log-format", "xml"), "xml", "json")
    assert_usage_error(run("app.lua", "--workers", "many"), "many")
    assert_usage_error(run("app.lua", "--workers", "-1"), "-1")
    assert_usage_error(run("app.lua", "--drain-seconds", "soon"), "soon")
  end)

  it("takes --option=value as well", function()
    local app <close> = server.start({
      app = GOOD,
      listen = {},
      options = { "--listen=127.0.0.1:0", "--log-format=json" },
    })
    assert.equal("x", (app:connect():ask("x")))
    assert.is_truthy(app:log():find("^{"))
  end)

  -- Apps with one mistake each; the messages must name the file, the line, and these words.
  local mistakes = {
    { "a syntax error", "return {\n  handle_message = function(conn\n}\n", "app.lua:3:" },
    { "an error while loading", "local x\nx.y = 1\nreturn {}\n", "app.lua:2:" },
    { "no table", "return 42\n", "app.lua", "table" },
    { "nothing returned", "local x = 1\n", "app.lua" },
    { "a misspelt hook", "return {\n  handle_mesage = function() end,\n}\n",
      "app.lua:2:", "handle_mesage", "handle_message" },
    { "a hook that is no function", "return {\n  on_start = 'go',\n}\n", "app.lua:2:", "on_start",
      "function" },
    { "a misspelt option", "return {\n  handle_message = print,\n  ping_perod = 3,\n}\n",
      "app.lua:3:", "ping_perod", "ping_period" },
    { "a period that is no number", "return {\n  ping_period = 'often',\n}\n", "app.lua:2:",
      "ping_period", "number" },
    { "a negative period", "return {\n  ping_period = -1,\n}\n", "app.lua:2:", "ping_period" },
    { "an unknown codec", "return {\n  codec = 'jsn',\n}\n", "app.lua:2:", "jsn", "json" },
    { "half a codec", "return {\n  codec = { decode = print },\n}\n", "app.lua:2:", "encode" },
    { "an unknown heartbeat", "return {\n  heartbeat = 'frames',\n}\n", "app.lua:2:", "frames",
      "frame" },
    { "an unknown setting", "return {\n  endpoints = {},\n  workrs = 1,\n}\n", "app.lua:3:",
      "workrs", "workers" },
    { "an unknown limit", "return {\n  endpoints = {},\n  limits = { conections = 1 },\n}\n",
      "app.lua:3:", "conections", "connections" },
    { "a misspelt hook of an endpoint",
      "return { endpoints = {\n  ['/a'] = {\n    on_clos = print,\n  },\n} }\n", "app.lua:3:",
      "on_clos", "on_close", "/a" },
    { "a misspelt option in defaults",
      "return {\n  endpoints = {},\n  defaults = { pingperiod = 1 },\n}\n", "app.lua:3:",
      "pingperiod", "ping_period" },
    { "an endpoint's path without a slash", "return { endpoints = {\n  chat = {},\n} }\n",
      "app.lua:2:", "chat" },
    { "two endpoints for one path",
      "return { endpoints = {\n  ['/:a'] = {},\n  ['/:b'] = {},\n} }\n", "app.lua", "/:a", "/:b" },
    { "a module that is missing", "return { endpoints = {\n  ['/a'] = 'handlers.missing',\n} }\n",
      "app.lua:2:", "handlers.missing" },
    { "a listen address that is none", "return { endpoints = {},\n  listen = 'here' }\n",
      "app.lua:2:", "here" },
    { "a route that is no function", "return { endpoints = {}, http = {\n  ['/x'] = 5,\n} }\n",
      "app.lua:2:", "/x" },
    { "a folder that is missing",
      "return { endpoints = {}, http = {\n  ['/x'] = { static = 'nowhere' },\n} }\n", "app.lua:2:",
      "nowhere" },
    { "a precompiled chunk", string.dump(function() return {} end), "app.lua" },
  }

  for _, mistake in ipairs(mistakes) do
    it("finds " .. mistake[1] .. ", in a check and in a start alike", function()
      write("app.lua", mistake[2])
      local check = run("check", "app.lua")
      local start = run("app.lua", "--listen", "127.0.0.1:0")
      for _, result in ipairs({ check, start }) do
        assert.equal(2, result.code, result.stdout .. result.stderr)
        for index = 3, #mistake do
          assert.is_truthy((result.stdout .. result.stderr):find(mistake[index], 1, true),
            ("%q is not in: %s%s"):format(mistake[index], result.stdout, result.stderr))
        end
      end
    end)
  end

  it("finds a mistake in a module of the app, and names that file", function()
    process.write_file(folder .. "/module.lua", "return {\n  on_strat = function() end,\n}\n")
    write("app.lua", "return { endpoints = { ['/'] = 'module' } }\n")
    local result = run("check", "app.lua")
    assert.equal(2, result.code)
    assert.is_truthy((result.stdout .. result.stderr):find("module.lua:2:", 1, true),
      result.stdout .. result.stderr)
  end)

  it("check prints all mistakes at once, each as file:line: message", function()
    write("app.lua", "return {\n  on_strat = print,\n  ping_perod = 1,\n  codec = 'xml',\n}\n")
    local result = run("check", "app.lua")
    assert.equal(2, result.code)
    local text = result.stdout .. result.stderr
    for line = 2, 4 do assert.is_truthy(text:find("app%.lua:" .. line .. ": %S"), text) end
  end)

  it("check is content with a good app, opens no socket and runs no server", function()
    write("app.lua", [[
      return {
        listen = "127.0.0.1:1",
        endpoints = { ["/"] = { handle_message = function() end } },
      }
    ]])
    local result = run("check", "app.lua")
    assert.equal(0, result.code, result.stderr)
    write("handler.lua", GOOD)
    assert.equal(0, run("check", "handler.lua").code)
    assert_usage_error(run("check"), "FILE")
  end)

  it("new makes an app that checks, runs, and has a spec that passes", function()
    local result = run("new", "shop")
    assert.equal(0, result.code, result.stderr)
    assert.is_truthy(result.stdout:find("app.lua", 1, true),
      "it does not tell how to go on: " .. result.stdout)
    assert.is_string(process.read_file(folder .. "/shop/app.lua"))
    assert.equal(0, run("check", "shop/app.lua").code)
    local app <close> = server.start({ app_path = folder .. "/shop/app.lua" })
    assert.is_true(app:is_alive())
    local spec = process.run("/bin/sh", {
      args = { "-c", "exec busted --lua=/usr/bin/lua5.4 . 2>&1" },
      directory = folder .. "/shop",
      environment = { TIDEWIRE_BIN = server.binary() },
    })
    assert.equal(0, spec.code, spec.stdout)
    assert.is_truthy(spec.stdout:find("[1-9]%d* success"), spec.stdout)
  end)

  it("new prints a command that works where it was typed", function()
    assert(os.execute(("mkdir '%s/my tools'"):format(folder)))
    assert(require("luv").fs_symlink(server.binary(), folder .. "/my tools/tidewire"))
    for _, call in ipairs { "'my tools/tidewire'", "PATH=\"$PWD/my tools:$PATH\"; tidewire" } do
      local made =
        process.run("/bin/sh", { args = { "-c", call .. " new 'a shop'" }, directory = folder })
      assert.equal(0, made.code, made.stderr)
      local command = assert(made.stdout:match("Run it: +([^\n]+)"))
      local check = process.run("/bin/sh", {
        args = { "-c", (call:match("^(PATH.-; )") or "") .. command:gsub(" run ", " check ") },
        directory = folder })
      assert.equal(0, check.code, check.stderr)
      assert(os.execute(("rm -r '%s/a shop'"):format(folder)))
    end
  end)

  it("new makes specs in which handlers may require tidewire, and what editors need", function()
    assert.equal(0, run("new", "shop").code)
    write("shop/handlers/bell.lua", [[
      local tw = require "tidewire"
      local rings = tw.shared("rings")
      return { handle_message = function(conn, message)
        tw.room("hall"):broadcast({ ring = rings:incr("count") }, conn)
        tw.after(1, function() tw.send(conn.id, message) end)
      end }
    ]])
    write("shop/spec/bell_spec.lua", [[
      local tw = require "tidewire"
      it("rings", function()
        tw.forget()
        require("handlers.bell").handle_message({ id = "c1" }, "ding")
        tw.timers[1].f()
        assert.same({ "room:broadcast", "hall", { ring = 1 }, { id = "c1" } }, tw.asked[1])
        assert.same({ "send", "c1", "ding" }, tw.asked[2])
        assert.has_error(function() return tw.nothing end,
          "spec/support/tidewire.lua has no tw.nothing: add what your specs need")
      end)
    ]])
    local spec =
      process.run("/bin/sh", { args = { "-c", "exec busted 2>&1" }, directory = folder .. "/shop" })
    assert.equal(0, spec.code, spec.stdout)
    assert.equal(process.read_file("lua/types/tidewire.lua"),
      process.read_file(folder .. "/shop/types/tidewire.lua"))
    local editor = require("cjson").decode(process.read_file(folder .. "/shop/.luarc.json"))
    assert.same({ "types" }, editor["workspace.library"])
    local lint = process.run("/bin/sh", { directory = folder .. "/shop",
      args = { "-c", "rm */bell*.lua; command -v luacheck > /dev/null || exit 0; luacheck -q ." } })
    assert.equal(0, lint.code, lint.stdout)
    local app <close> = server.start({ app_path = folder .. "/shop/app.lua" })
    assert.matches("^image/svg%+xml", app:http("/icon.svg").headers["content-type"])
    assert.is_truthy(app:http("/").body:find('rel="icon" href="icon.svg"', 1, true))
  end)

  it("new overwrites nothing", function()
    assert.equal(0, run("new", "shop").code)
    process.write_file(folder .. "/shop/app.lua", "-- mine\n")
    local result = run("new", "shop")
    assert_usage_error(result, "shop")
    assert.equal("-- mine\n", process.read_file(folder .. "/shop/app.lua"))
    assert_usage_error(run("new"), "DIR")
  end)

  it("new fails when a file cannot be written to its end", function()
    local result = process.run("/bin/sh", { directory = folder,
      args = { "-c", "trap '' XFSZ; ulimit -f 1; exec " .. server.binary() .. " new shop" } })
    assert.equal(1, result.code)
    assert.is_truthy(result.stderr:find("new: shop/README.md: File too large", 1, true),
      result.stderr)
  end)

  it("new writes all files where nothing reads its lines", function()
    local result = process.run("/bin/sh", { directory = folder,
      args = { "-c", "mkfifo lines; : < lines & exec 4> lines; wait; "
        .. server.binary() .. " new shop >&4 2>&1; " .. server.binary() .. " check shop" } })
    assert.equal(0, result.code, result.stderr)
  end)

  it("finds modules beside the app and in its lua_modules, wherever it was started", function()
    assert(os.execute(("mkdir -p '%s/app/lua_modules/share/lua/5.4/deep' '%s/elsewhere'")
      :format(folder, folder)))
    write("app/beside.lua", "return 'beside'")
    write("app/lua_modules/share/lua/5.4/rock.lua", "return 'rock'")
    write("app/lua_modules/share/lua/5.4/deep/init.lua", "return 'deep'")
    write("app/app.lua", [[
      local text = require("beside") .. " " .. require("rock") .. " " .. require("deep")
      return { handle_message = function(conn) conn:send(text) end }
    ]])
    local app <close> = server.start({ app_path = folder .. "/app/app.lua" })
    assert.equal("beside rock deep", (app:connect():ask("?")))
  end)

  it("writes a PID file and removes it at the end", function()
    local path = folder .. "/tidewire.pid"
    local app = server.start({ app = GOOD, options = { "--pid-file", path } })
    assert.equal(app.pid, tonumber(process.read_file(path)))
    app:stop()
    assert.is_nil(process.read_file(path))
    local result = server.run({
      write("app.lua", GOOD), "--listen", "127.0.0.1:0", "--pid-file", "/nowhere/x.pid",
    },
      { directory = folder })
    assert.is_true(result.code ~= 0)
    assert.is_truthy(result.stderr:find("/nowhere/x.pid", 1, true), result.stderr)
  end)

  it("that finds its address in use leaves the other program's PID file alone", function()
    local path = folder .. "/tidewire.pid"
    local app <close> = server.start({ app = GOOD, options = { "--pid-file", path } })
    local address = app.addresses[1]
    local second = server.run(
      {
        write("app.lua", GOOD), "--listen", ("%s:%d"):format(address.host, address.port),
        "--pid-file", path,
      },
      { directory = folder })
    assert.equal(1, second.code)
    assert.equal(app.pid, tonumber(process.read_file(path)))
  end)
end)

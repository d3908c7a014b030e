-- recipes_outside_spec.lua -- the recipes of docs/recipes.md that use other servers and libraries:
-- Redis, PostgreSQL, SQLite, a mail server and an HTTP API of the test; MariaDB, and Mosquitto with
-- luamqtt, where they are installed (scripts/install recipes, and LuaRocks).

local cjson = require "cjson"
local loop = require "support.loop"
local origin = require "support.origin"
local postgres = require "support.postgres"
local process = require "support.process"
local recipes = require "support.recipes"
local redis_server = require "support.redis"
local server = require "support.server"
local service = require "support.service"
local stream = require "support.stream"
local uv = require "luv"

-- What a recipe cannot be tried without, and is not there: nil, or a sentence.
local function without_module(name, package_name)
  local paths = package.path .. ";/usr/share/lua/5.3/?.lua"
  if package.searchpath(name, paths) or package.searchpath(name, package.cpath) then return nil end
  return package_name .. " is not installed"
end

local function without_program(name, package_name)
  return not process.find(name) and package_name .. " is not installed" or nil
end

-- A test of a recipe, or why it is not tried.
local function recipe(heading, missing, body)
  if not missing then return it(heading, body) end
  it(heading, function()
    recipes.files(heading)
    pending(missing)
  end)
end

describe("docs/recipes.md", function()
  after_each(stream.close_all)

  -- ---- the table of libraries ----

  it("says which libraries are all Lua, and which are C", function()
    recipes.files("What waits, and what needs a pool")
    local page = process.read_file("docs/recipes.md")
    local function modules_of(sentence)
      local names = {}
      local row = assert(page:match("\n(|[^\n]*| " .. sentence .. "[^\n]*)"), sentence)
      for name in row:match("^|([^|]*)|"):gmatch("`([%l%d.]+)`") do names[#names + 1] = name end
      return names
    end
    local lua = modules_of("wait: they are Lua throughout")
    local c = modules_of("need a pool: they are C")
    assert.is_true(#lua >= 6 and #c >= 3)
    for _, name in ipairs(lua) do
      assert.is_nil((package.searchpath(name, package.cpath)), name)
    end
    for _, name in ipairs(c) do
      assert.is_nil((package.searchpath(name, package.path)), name)
    end
  end)

  -- ---- Redis ----

  recipe("Redis", redis_server.missing() or without_module("redis", "lua-redis"), function()
    local redis <close> = redis_server.start()
    local app <close> = recipes.start("Redis", nil, { REDIS_PORT = tostring(redis.port) })
    local ada, bob = app:connect("/visits"), app:connect("/visits")
    assert.equal("1", (ada:ask("home")))
    assert.equal("2", (bob:ask("home")))
    assert.equal("1", (ada:ask("a page\r\nFLUSHALL")))
    local eve, eddy = app:connect("/jobs"), app:connect("/jobs")
    for number = 1, 20 do redis:command("RPUSH", "jobs", tostring(number)) end
    local done, count = {}, 0
    assert.is_truthy(loop.wait_until(function()
      for _, peer in ipairs({ eve, eddy }) do
        for job in function() return (peer:step()) end do done[job], count = true, count + 1 end
      end
      return count == 20
    end))
    for number = 1, 20 do assert.is_true(done[tostring(number)]) end
    redis:command("SET", "visits:wrong", "no number")
    assert.is_truthy((ada:ask("wrong")):find("^no answer: .*not an integer"))
    redis:kill()
    assert.is_truthy((ada:ask("home")):find("^no answer: .*refused"))
    redis:start()
    assert.equal("3", (ada:ask("home")))
    assert.equal("4", (bob:ask("home")))
    redis:command("RPUSH", "jobs", "more")
    assert.is_truthy(loop.wait_until(function() return eve:step() or eddy:step() end))
  end)

  -- ---- databases ----

  -- What every recipe of a database does: it counts, over a restart of the app and of the database,
  -- and a text stays a text. `zero_byte` matches the answer to a text with one.
  local function try_visits(start, database, zero_byte)
    local app = start()
    local ada, bob = app:connect("/"), app:connect("/")
    assert.equal("1", (ada:ask("home")))
    assert.equal("2", (bob:ask("home")))
    local page = "'); DROP TABLE visits; -- \" \\ %s é"
    assert.equal("1", (ada:ask(page)))
    assert.equal("2", (bob:ask(page)))
    assert.is_truthy((ada:ask("a\0b")):find(zero_byte or "^not counted"))
    for _ = 1, 10 do
      ada:send_text("often")
      bob:send_text("often")
    end
    local counts = {}
    for _ = 1, 10 do
      counts[#counts + 1] = tonumber((ada:receive()))
      counts[#counts + 1] = tonumber((bob:receive()))
    end
    table.sort(counts)
    for number = 1, 20 do assert.equal(number, counts[number]) end
    app:stop()
    local second <close> = start()
    local eve = second:connect("/")
    assert.equal("3", (eve:ask("home")))
    if not database then return end
    database:kill()
    assert.equal("not counted: the database cannot be reached", (eve:ask("home")))
    assert.is_truthy(second:wait_for_log('message="not counted"'))
    database:start()
    assert.is_truthy(loop.wait_until(function()
      local answer = eve:ask("home") -- each thread fails once, and connects again
      return tonumber(answer)
    end))
  end

  recipe("PostgreSQL", postgres.missing() or without_module("luasql.postgres", "lua-sql-postgres"),
    function()
      local database <close> = postgres.start()
      try_visits(function()
        return recipes.start("PostgreSQL", nil, { DATABASE_URL = database.url })
      end, database)
      assert.equal("20", database:query("SELECT count FROM visits WHERE page = 'often'"))
    end)

  recipe("SQLite", without_module("luasql.sqlite3", "lua-sql-sqlite3"), function()
    local folder = process.make_directory()
    try_visits(function()
      return recipes.start("SQLite", nil, { DATABASE_FILE = folder .. "/visits.db" })
    end)
    process.remove_directory(folder)
  end)

  local MARIADB = {
    name = "MariaDB",
    stop_signal = "sigterm",
    command = function(self)
      return process.find("mariadbd"), {
        "--no-defaults", "--user=root", "--datadir=" .. self.folder .. "/data",
        "--socket=" .. self.folder .. "/socket", "--pid-file=" .. self.folder .. "/pid",
        "--tmpdir=" .. self.folder, "--bind-address=127.0.0.1", "--port=" .. self.port,
        "--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0",
      }
    end,
    answers = function(self)
      return process.run("mariadb", {
        args = { "--no-defaults", "-h127.0.0.1", "-uroot", "-P" .. self.port,
          "-e", "CREATE DATABASE IF NOT EXISTS visits" },
      }).code == 0
    end,
  }

  recipe("MySQL", without_program("mariadbd", "mariadb-server")
    or without_module("luasql.mysql", "lua-sql-mysql")
    or uv.getuid() ~= 0 and "only root makes a database here"
    or os.getenv("ASAN_OPTIONS") and "libmariadb leaks what it makes once" or nil, function()
      local folder = process.make_directory()
      local made = process.run("mariadb-install-db", {
        args = { "--no-defaults", "--datadir=" .. folder .. "/data", "--user=root",
          "--auth-root-authentication-method=normal", "--skip-test-db", "--tmpdir=" .. folder },
      })
      assert.equal(0, made.code, made.stderr)
      local database <close> = service.start(MARIADB, folder)
      try_visits(function()
        return recipes.start("MySQL", nil, {
          MYSQL_DATABASE = "visits", MYSQL_USER = "root", MYSQL_PORT = tostring(database.port),
        })
      end, database, "^1$")
    end)

  -- ---- mail ----

  -- A mail server that keeps what comes. Addresses with "unknown" are refused.
  local function start_mail_server()
    local listener, mails = uv.new_tcp(), {}
    assert(listener:bind("127.0.0.1", 0))
    local sockets = {}
    listener:listen(16, function()
      local socket, text, mail = uv.new_tcp(), "", { to = {} }
      listener:accept(socket)
      sockets[#sockets + 1] = socket
      socket:write("220 test\r\n")
      local function answer(line)
        local command = line:match("^%a+"):upper()
        if command == "MAIL" then mail.from = line:match("<(.*)>") end
        if command == "RCPT" then table.insert(mail.to, line:match("<(.*)>")) end
        if line:find("unknown") then return "550 no such user" end
        if command == "DATA" then mail.is_open = true end
        return command == "DATA" and "354 go on" or command == "QUIT" and "221 bye" or "250 good"
      end
      socket:read_start(function(_, bytes)
        if not bytes then return socket:close() end
        text = text .. bytes
        while true do
          local finish = select(2, text:find(mail.is_open and "\r\n%.\r\n" or "\r\n"))
          if not finish then return end
          local part = text:sub(1, finish)
          text = text:sub(finish + 1)
          if mail.is_open then
            mail.text, mail.is_open = part, nil
            mails[#mails + 1] = mail
            mail = { to = {} }
            socket:write("250 kept\r\n")
          else
            socket:write(answer(part) .. "\r\n")
          end
        end
      end)
    end)
    return listener:getsockname().port, mails, function()
      for _, socket in ipairs(sockets) do
        if not socket:is_closing() then socket:close() end
      end
      listener:close()
    end
  end

  recipe("Send mail", without_module("socket.smtp", "lua-socket"), function()
    local port, mails, stop = start_mail_server()
    local app <close> = recipes.start("Send mail", nil, { SMTP_PORT = tostring(port) })
    local ada = app:connect("/")
    local function ask(message) return (ada:ask(cjson.encode(message))) end
    assert.equal('{"sent":true}', ask({ to = "bob@example.com", text = "hello\r\n.\r\nbob é" }))
    assert.same({ "app@example.com", { "bob@example.com" } }, { mails[1].from, mails[1].to })
    assert.is_truthy(mails[1].text:find("\r\n\r\nhello\r\n..\r\nbob é\r\n.\r\n", 1, true))
    assert.is_truthy(mails[1].text:lower():find("\r\nsubject: a message for you\r\n", 1, true)
      or mails[1].text:lower():find("^subject: a message for you\r\n"))
    for _, wrong in ipairs({ "bob", "bob@example.com\r\nBcc: eve@example.com", "<bob@example>" }) do
      assert.is_truthy(ask({ to = wrong, text = "hello" }):find('^{"error"'))
    end
    assert.equal('{"sent":false}', ask({ to = "unknown@example.com", text = "hello" }))
    assert.is_truthy(app:wait_for_log('message="mail not sent".-550 no such user'))
    assert.equal(1, #mails)
    stop()
    assert.equal('{"sent":false}', ask({ to = "bob@example.com", text = "hello" }))
    assert.is_truthy(app:wait_for_log('message="mail not sent".-connection refused'))
  end)

  -- ---- MQTT ----

  local MOSQUITTO = {
    name = "Mosquitto",
    stop_signal = "sigterm",
    command = function(self)
      process.write_file(self.folder .. "/config",
        ("listener %d 127.0.0.1\nallow_anonymous true\nuser root\n"):format(self.port))
      return process.find("mosquitto"), { "-c", self.folder .. "/config" }
    end,
    answers = function(self)
      local socket = stream.connect({ host = "127.0.0.1", port = self.port })
      if socket then socket:close() end
      return socket ~= nil
    end,
  }

  recipe("MQTT", without_program("mosquitto", "mosquitto") or without_module("mqtt", "luamqtt"),
    function()
      local broker <close> = service.start(MOSQUITTO, process.make_directory())
      local app <close> =
        recipes.start("MQTT", nil, { MQTT_BROKER = "127.0.0.1:" .. broker.port }, 1)
      local ada = app:connect("/sensors")
      local function ask_until_connected(text)
        return loop.wait_until(function()
          return (ada:ask(text)) == "sensors/clients: " .. text
        end)
      end
      assert.is_truthy(ask_until_connected("hello"))
      local bob = app:connect("/sensors")
      bob:send_text("hi")
      assert.equal("sensors/clients: hi", (ada:receive()))
      broker:kill()
      assert.is_truthy(loop.wait_until(function()
        return (ada:ask("anything")) == "the broker cannot be reached"
      end))
      broker:start()
      assert.is_truthy(ask_until_connected("hello again"))
    end)

  -- ---- an HTTP API ----

  recipe("An HTTP API with paging", nil, function()
    local answers = {}
    local api <close> = origin.start(function(peer, request)
      local answer = answers[request.target] or { 404 }
      if type(answer[1]) == "table" then -- one after the other; the last again and again
        answer = answer[2] and table.remove(answer, 1) or answer[1]
      end
      peer:answer(answer[1], answer[2], answer[3])
    end)
    local app <close> = recipes.start("An HTTP API with paging", nil, { API = api.url })
    local ada = app:connect("/")
    local function page(users, link) return { 200, { Link = link }, cjson.encode(users) } end
    local function ask() return (ada:ask("1")) end

    answers["/users"] = page({ "ada", "bob" }, '</users?page=1>; rel="prev", '
      .. '</users?page=2>; rel="next"')
    answers["/users?page=2"] = { -- asked twice
      { 429, { ["Retry-After"] = "0" } },
      page({ "eve" }, ("<%s/users?page=3>; rel=next"):format(api.url)),
    }
    answers["/users?page=3"] = page({ "zoe" }, '</users?page=1>; rel="first"')
    assert.equal('{"users":["ada","bob","eve","zoe"]}', ask())
    assert.equal("application/json", api.requests[1].headers.accept)
    assert.equal(4, #api.requests)

    answers["/users?page=3"] = { 500 }
    answers["/users?page=2"] = page({}, '</users?page=3>; rel="next"')
    assert.equal('{"error":"status 500"}', ask())
    answers["/users?page=3"] = { 503, { ["Retry-After"] = "0" } }
    assert.equal('{"error":"status 503"}', ask())
    answers["/users?page=3"] = { 200, {}, "nonsense" }
    assert.equal('{"error":"the page is no list"}', ask())
    for _, link in ipairs({ "http://other.example/", "//other.example/", api.url .. "@other/" }) do
      answers["/users?page=3"] = page({}, ('<%s>; rel="next"'):format(link))
      assert.equal('{"error":"the next page is on another server"}', ask())
    end
    answers["/users?page=3"] = page({}, '</users?page=3>; rel="next"')
    assert.equal('{"error":"there are more than 100 pages"}', ask())
    api:close()
    assert.equal('{"error":"connection refused"}', ask())
  end)

  -- ---- programs ----

  it("run a process", function()
    local folder = process.make_directory()
    local app <close> =
      recipes.start("Run a process", nil, { PATH = folder .. ":" .. os.getenv("PATH") })
    local ada = app:connect("/")
    assert.equal("a\nb\nc $HOME; ls\n", (ada:ask("b\nc $HOME; ls\na\nb\n")))
    local function replace_program(text)
      process.write_file(folder .. "/sort", "#!/bin/sh\n" .. text)
      assert(uv.fs_chmod(folder .. "/sort", tonumber("755", 8)))
    end
    replace_program("echo no room >&2; exit 2")
    assert.equal("not sorted: no room\n", (ada:ask("a")))
    for reason, text in pairs({ ["timed out"] = "sleep 600", max_output = "yes" }) do
      replace_program(text)
      assert.equal("not sorted: try again later", (ada:ask("a")))
      assert.is_truthy(app:wait_for_log('message="not sorted".-' .. reason))
    end
    process.remove_directory(folder)
  end)

  -- ---- libraries ----

  recipe("Libraries from LuaRocks", nil, function()
    recipes.files("Libraries from LuaRocks")
    local app <close> = server.start({
      app = [[
        local library = require "library"
        return { on_start = function(conn) conn:send(library.name) end }
      ]],
      files = { ["lua_modules/share/lua/5.4/library.lua"] = 'return { name = "of the tree" }' },
    })
    assert.equal("of the tree", (app:connect("/"):receive()))
  end)

  it("has a test for each of these recipes", function()
    assert.same({}, recipes.untried(true))
  end)
end)

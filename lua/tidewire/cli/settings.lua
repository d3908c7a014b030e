-- settings.lua -- reads the command line and the environment of the process.
--
-- Listen addresses, workers, the admin address, proxies and the files of TLS are only passed on:
-- app.lua combines them with the app's own. script/vm/settings.c calls `read` once, before a worker
-- starts. The options are one table: a new option is a line there and one in help.lua.

local headers = require "tidewire.base.headers"
local help = require "tidewire.cli.help"
local hints = require "tidewire.cli.hints"

local settings = {}

--- Ends the reading with a message for stderr.
local function fail(format, ...)
  error(format:format(...), 0)
end

local function fail_value(name, expected, got)
  fail('%s: expected %s, got "%s"', name, expected, got)
end

-- ---- values of options: functions that return the value of a text ----

local function text(_, value)
  return value
end

local function seconds(name, value)
  local number = value:find("^%s*%S+$") and tonumber(value)
  if not number or not (number >= 0 and number <= 86400) then
    fail_value(name, "a number of seconds from 0 to 86400", value)
  end
  return number
end

--- One of the words of a list such as "text, json or pretty".
local function choice(list)
  local words = " " .. list:gsub(",", ""):gsub(" or ", " ") .. " "
  return function(name, value)
    if not value:find("^%l+$") or not words:find(" " .. value .. " ", 1, true) then
      fail_value(name, list, value)
    end
    return value
  end
end

local function header(name, value)
  local fault = headers.handshake_fault(value)
  if fault then fail('%s "%s": %s', name, value, fault) end
  return value
end

local function subprotocol(name, value)
  if not headers.is_token(value) then
    fail_value(name, "the name of a subprotocol, such as v1.chat (for another one, the option "
      .. "again)", value)
  end
  return value
end

local function prefix(name, value)
  if not value:find("^[%w_.:-]+$") or #value > 64 then
    fail_value(name, "letters, digits and _ . : -, 64 at most", value)
  end
  return value
end

-- ---- the options ----

-- The environment variables of the others are read by app.lua. `is_flag`: it takes no value.
-- `is_list`: it may be repeated. `of`: the command whose option it is, in place of the server.
local OPTIONS = {
  { name = "--listen", read = text, is_list = true },
  { name = "--workers", read = text },
  { name = "--admin", read = text },
  { name = "--admin-hosts", read = text },
  { name = "--state", read = text },
  { name = "--cluster", read = text },
  { name = "--trusted-proxies", read = text },
  { name = "--proxy-protocol", is_flag = true },
  { name = "--tls-certificate", read = text },
  { name = "--tls-key", read = text },
  { name = "--log-level", variable = "TIDEWIRE_LOG_LEVEL",
    read = choice "debug, info, warn or error" },
  { name = "--log-format", variable = "TIDEWIRE_LOG_FORMAT",
    read = choice "text, json or pretty" },
  { name = "--log-file", variable = "TIDEWIRE_LOG_FILE", read = text },
  { name = "--pid-file", variable = "TIDEWIRE_PID_FILE", read = text },
  { name = "--user", variable = "TIDEWIRE_USER", read = text },
  { name = "--seccomp", is_flag = true },
  { name = "--drain-seconds", variable = "TIDEWIRE_DRAIN_SECONDS", read = seconds },
  { name = "--lame-duck-seconds", variable = "TIDEWIRE_LAME_DUCK_SECONDS", read = seconds },
  { name = "--drain-jitter", variable = "TIDEWIRE_DRAIN_JITTER", read = seconds },
  { name = "--upgrade", is_flag = true },
  { name = "--watch", is_flag = true },
  { name = "--header", read = header, is_list = true, of = "talk" },
  { name = "--subprotocol", read = subprotocol, is_list = true, of = "talk" },
  { name = "--insecure", is_flag = true, of = "talk" },
  { name = "--wait", read = seconds, of = "talk" },
  { name = "--prefix", read = prefix, of = "cluster" },
  { name = "--json", is_flag = true, of = "cluster" },
}

local option_names, options_by_name = {}, {}
for i, option in ipairs(OPTIONS) do
  option.field = option.name:sub(3):gsub("-", "_")
  option_names[i], options_by_name[option.name] = option.name, option
end
table.insert(option_names, "--version")
table.insert(option_names, "--help")

--- Sets the field of an option. `name`: of the option or of its environment variable.
local function set(result, option, name, value)
  if option.is_flag then
    if value then fail("%s takes no value", name) end
    result[option.field] = true
  elseif option.is_list then
    result[option.field] = result[option.field] or {}
    table.insert(result[option.field], option.read(name, value))
  else
    result[option.field] = option.read(name, value)
  end
end

--- `next_argument`: the argument behind it, if that is no option.
local function fail_unknown(given, next_argument)
  -- without the value behind "=", or behind the letter of a short option
  local name = given:match("^%-[^-]") or given:match("^[^=]*")
  local rest = given:sub(#name + 1)
  local value = rest == "" and next_argument or rest ~= "" and rest:gsub("^=", "") or nil
  local hint = hints.for_option(name, value, option_names)
  fail("unknown option %s%s (tidewire --help lists all)", name:sub(2, 2) == "-" and name or given,
    hint and "; " .. hint or "")
end

-- ---- reading ----

local function read_environment(result)
  for _, option in ipairs(OPTIONS) do
    local value = option.variable and os.getenv(option.variable)
    if value and value ~= "" then set(result, option, option.variable, value) end
  end
end

--- Reads the option args[at], with its value behind "=" or in the next argument. Returns the index
--- of its last argument.
local function read_option(result, args, at)
  local name, value = args[at]:match("^([^=]*)=?(.*)$")
  local next_argument = args[at + 1]
  local option = options_by_name[name]
  if not option then
    fail_unknown(args[at], next_argument and not next_argument:find("^%-") and next_argument or nil)
  end
  if name == args[at] then
    value = nil
    if not option.is_flag then
      value, at = next_argument or fail("%s needs a value", name), at + 1
    end
  end
  result.seen[option.of or "server"] = name
  set(result, option, name, value)
  return at
end

local COMMANDS = { run = true, check = true, new = true, reload = true, talk = true,
  cluster = true, help = true, version = true }

local TARGETS = { talk = "URL", new = "DIR" }

--- Reads an argument that is no option: a command, if it is the first one, or the target.
local function read_argument(result, word)
  if not result.target and not result.has_command and COMMANDS[word] then
    result.has_command, result.action = true, word
  elseif result.action == "cluster" and result.target then
    table.insert(result.urls, word)
  elseif not result.target then
    result.target = word
  else
    local hint = nil
    if not word:find("%D") then
      hint = ("did you mean --listen 127.0.0.1:%s?"):format(word)
    elseif not result.has_command then
      hint = hints.for_command(result.target, word)
    end
    fail('one %s is enough, got "%s" and "%s"%s', TARGETS[result.action] or "FILE", result.target,
      word, hint and "; " .. hint or "")
  end
end

-- ---- the script ----

--- The script is the target, app.lua of the directory that is the target, or, without a target,
--- app.lua of the working directory.
local function find_script(result, file_type)
  local target = result.target
  if not target and result.action == "run" and file_type("app.lua") then
    result.target = "app.lua"
  elseif not target then
    fail("%s (see tidewire --help)", result.action == "check"
      and "check needs a file: tidewire check FILE"
      or "a script is needed: tidewire FILE; there is no app.lua in this folder, and tidewire new "
        .. "DIR makes one")
  elseif file_type(target) == "folder" then
    local folder = target:gsub("(.)/+$", "%1")
    result.target = folder == "." and "app.lua" or folder:gsub("([^/])$", "%1/") .. "app.lua"
    if not file_type(result.target) then
      fail('the folder "%s" has no app.lua: name the script in it, or make an app with tidewire '
        .. "new DIR", target)
    end
  elseif not file_type(target) then
    if file_type(target .. ".lua") then
      fail('there is no file "%s"; did you mean %s.lua?', target, target)
    end
    local hint = not target:find("[/.]") and not result.has_command and hints.for_command(target)
    if hint then fail('"%s" is neither a file nor a command; %s', target, hint) end
  end
end

--- Options that restrict each other.
local function check_together(result)
  if result.drain_jitter > result.drain_seconds then
    fail("--drain-jitter: expected at most the %g seconds of --drain-seconds, got %g",
      result.drain_seconds, result.drain_jitter)
  end
  if result.upgrade and not result.pid_file then
    fail("--upgrade needs --pid-file FILE, the pid file of the running process")
  end
end

-- Where the options of a command belong.
local OWNERS = { server = "the server", talk = "tidewire talk URL",
  cluster = "tidewire cluster check URL" }

--- Fails for an option of another command.
local function check_owners(result)
  local own = (result.action == "talk" or result.action == "cluster") and result.action or "server"
  for _, owner in ipairs({ "server", "talk", "cluster" }) do
    local name = result.seen[owner]
    if name and owner ~= own then
      fail("%s is an option of %s%s", name, OWNERS[owner],
        own == "server" and "" or ", not of tidewire " .. own)
    end
  end
end

--- `tidewire cluster check URL…`: the word after "cluster" is the target. Without a URL the
--- environment has them.
local function check_cluster(result)
  if result.target ~= "check" then
    fail("cluster needs a verb%s: tidewire cluster check redis://HOST:PORT",
      result.target and (', not "%s"'):format(result.target:gsub("//.*@", "//…@")) or "")
  end
  for url in (#result.urls == 0 and os.getenv("TIDEWIRE_CLUSTER") or ""):gmatch("[^%s,]+") do
    table.insert(result.urls, url)
  end
  if #result.urls == 0 then
    fail("cluster check needs a URL: tidewire cluster check redis://HOST:PORT, or TIDEWIRE_CLUSTER")
  end
end

--- What the command needs beside its options.
local function check(result, file_type)
  local action, target = result.action, result.target
  if action == "reload" then
    if target or not result.pid_file then
      fail("reload needs the running server's pid file, and nothing else: tidewire reload "
        .. "--pid-file FILE")
    end
    return
  end
  check_owners(result)
  if action == "cluster" then
    check_cluster(result)
  elseif action == "talk" and not target then
    fail("talk needs an address: tidewire talk ws://127.0.0.1:8080/")
  elseif action == "new" and not target then
    fail("new needs a folder: tidewire new DIR (see tidewire --help)")
  elseif action == "run" or action == "check" then
    find_script(result, file_type)
  end
  check_together(result)
end

--- The command that asks for help or the version, wherever it stands: nothing else is read then.
local function find_information(args)
  for i, arg in ipairs(args) do
    if arg == "--version" or arg == "-v" or i == 1 and arg == "version" then return "version" end
    if arg == "--help" or arg == "-h" or i == 1 and arg == "help" then return "help" end
  end
end

--- Reads both. Throws a message that says what to do, when they are wrong. The fields of the result
--- are `action` (a command), `target` (FILE, DIR or URL), those of the options, and `help`.
---@param args string[]  without the program's name
---@param file_type fun(path: string): "folder"|"file"|nil  nil: it does not exist
---@return table
function settings.read(args, file_type)
  local result = { action = find_information(args), drain_seconds = 10, lame_duck_seconds = 0,
    drain_jitter = 0, help = help, seen = {}, urls = {} }
  if result.action then return result end
  result.action = "run"
  read_environment(result)
  local at = 1
  while args[at] do
    if args[at]:find("^%-.") then
      at = read_option(result, args, at)
    else
      read_argument(result, args[at])
    end
    at = at + 1
  end
  if result.action ~= "help" and result.action ~= "version" then check(result, file_type) end
  return result
end

return settings

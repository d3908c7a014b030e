-- hints.lua -- suggestions for an unknown option or command of the command line.
--
-- Finds the nearest of Tidewire's names, and the one that means what an option or command of other
-- servers means. Pure functions on strings.

local suggest = require "tidewire.base.suggest"

local hints = {}

--- Is the word one of these names, which are separated by spaces?
local function is_one_of(word, names)
  return word ~= "" and (" " .. names .. " "):find(" " .. word .. " ", 1, true) ~= nil
end

-- Options that Tidewire has under another name. `%s` is the given value, or `otherwise`.
local RENAMED = {
  { names = "--port -p --http-port -P", ours = "--listen 127.0.0.1:%s", otherwise = "8080" },
  { names = "--host --hostname --bind --address --addr --ip --interface -b -H -a -l",
    ours = "--listen %s:8080", otherwise = "127.0.0.1" },
  { names = "--socket --unix --unix-socket", ours = "--listen unix:%s",
    otherwise = "/run/app.sock" },
  { names = "--cert --certificate --ssl-cert --ssl-certificate --tls-cert --certfile",
    ours = "--tls-certificate %s", otherwise = "FILE" },
  { names = "--key --ssl-key --private-key --keyfile", ours = "--tls-key %s", otherwise = "FILE" },
  { names = "--threads --processes --jobs --cluster -w -t -j -n", ours = "--workers %s",
    otherwise = "N" },
  { names = "--verbose --debug --trace -vv -d", ours = "--log-level debug" },
  { names = "--quiet --silent -q", ours = "--log-level warn" },
  { names = "--reload --hot --hot-reload --dev --live --auto-reload -r", ours = "--watch" },
  { names = "--log --logfile --log-path", ours = "--log-file %s", otherwise = "FILE" },
  { names = "--pid", ours = "--pid-file %s", otherwise = "FILE" },
  { names = "-V", ours = "--version" },
  { names = "-?", ours = "--help" },
}

-- Options that Tidewire has not, and what to do instead.
local EXPLAINED = {
  { names = "--daemon --daemonize --background --detach -D",
    text = "it stays in the foreground: let a service manager start it (docs/operating.md)" },
  { names = "--config --conf -c -f --file",
    text = "the script itself has the settings, and is given without an option: tidewire FILE" },
  { names = "--eval --execute -e", text = "a script is a file: tidewire FILE" },
}

-- Tidewire's commands with their argument, and the names that other programs give them.
local COMMANDS = {
  { name = "run", takes = "FILE", others = "start serve server up dev launch exec open" },
  { name = "check", takes = "FILE", others = "lint validate verify test-config configtest" },
  { name = "new", takes = "DIR", others = "init create scaffold generate make" },
  { name = "reload", takes = "--pid-file FILE", others = "restart refresh hup" },
  { name = "talk", takes = "URL", others = "connect client wscat websocat chat" },
  { name = "cluster", takes = "check URL", others = "redis valkey" },
  { name = "help", takes = "", others = "usage man" },
  { name = "version", takes = "", others = "ver" },
}

-- Commands that Tidewire has not, and what to do instead.
local EXPLAINED_COMMANDS = {
  { names = "stop quit kill shutdown down",
    text = 'a running server ends on SIGTERM or Ctrl-C: kill "$(cat FILE)" with its '
      .. "--pid-file FILE" },
  { names = "test spec", text = "specs run with busted, in the app's folder" },
  { names = "status ps",
    text = "/stats and /healthz show the state of a running server: --admin ADDR" },
  { names = "install build", text = "an app needs neither: tidewire FILE runs it" },
}

local function explanation(word, explained)
  for _, row in ipairs(explained) do
    if is_one_of(word, row.names) then return row.text end
  end
end

--- The suggestion for an option that does not exist: for another server's, "did you mean --listen
--- 127.0.0.1:3000?" for "--port" with the value "3000", or for a misspelt one.
---@param option string
---@param value string|nil
---@param names string[]  the options that exist
---@return string|nil
function hints.for_option(option, value, names)
  for _, row in ipairs(RENAMED) do
    if is_one_of(option, row.names) then
      return ("did you mean %s?"):format(row.ours:format(value or row.otherwise))
    end
  end
  local nearest, least = nil, 4
  for _, name in ipairs(names) do
    local distance = suggest.distance(option, name)
    if distance < least then nearest, least = name, distance end
  end
  return explanation(option, EXPLAINED) or nearest and ("did you mean %s?"):format(nearest)
end

--- The suggestion for another program's command, such as "init", or for a misspelt one: "did you
--- mean tidewire new shop?".
---@param word string
---@param rest string|nil  the next argument
---@return string|nil
function hints.for_command(word, rest)
  local nearest, least = nil, #word <= 3 and 2 or 3
  for _, command in ipairs(COMMANDS) do
    local distance = is_one_of(word, command.others) and 0 or suggest.distance(word, command.name)
    if distance < least then nearest, least = command, distance end
  end
  if least > 0 then
    local text = explanation(word, EXPLAINED_COMMANDS)
    if text then return text end
  end
  if not nearest then return nil end
  local argument = rest and nearest.takes:find("^%u") and rest or nearest.takes
  return ("did you mean tidewire %s%s%s?"):format(nearest.name, argument == "" and "" or " ",
    argument)
end

return hints

-- man_spec.lua -- scripts/check_man.lua finds differences between the help, the manual page and the
-- options: each case spoils one thing in a copy, and the real check must name it.

local spoiled = require "support.spoiled"

local SETTINGS, HELP = "lua/tidewire/cli/settings.lua", "lua/tidewire/cli/help.lua"

describe("scripts/check_man.lua", function()
  spoiled("scripts/check_man.lua",
    "mkdir -p TOP/lua/tidewire TOP/man && cp -r lua/tidewire/cli TOP/lua/tidewire && cp "
      .. "man/tidewire.1 TOP/man", {
    { "a new option", SETTINGS, '{ name = "%-%-watch"',
      '{ name = "--new-one", is_flag = true }, %0',
      "the option --new-one is in " .. SETTINGS .. ", but not in " .. HELP },
    { "an option that the help lacks", HELP, "  %-%-watch ", "  ",
      "the option --watch is in " .. SETTINGS .. ", but not in " .. HELP },
    { "an option that the page lacks", "man/tidewire.1", "\\%-\\%-watch", "watch",
      "the option --watch is in lua/tidewire/cli/help.lua, but not in man/tidewire.1" },
    { "an option that there is not", "man/tidewire.1", "\\%-\\%-watch", "\\-\\-wtach",
      "the option --wtach is in man/tidewire.1, but not in lua/tidewire/cli/help.lua" },
    { "a variable", "man/tidewire.1", "TIDEWIRE_PID_FILE", "TIDEWIRE_PIDFILE",
      "the variable TIDEWIRE_PID_FILE is in lua/tidewire/cli/help.lua, but not in "
        .. "man/tidewire.1" },
    { "a signal", "man/tidewire.1", "SIGUSR1", "SIGUSR2",
      "the signal SIGUSR2 is in man/tidewire.1, but not in lua/tidewire/cli/help.lua" },
    { "a new command", SETTINGS, '{ run = true', '{ walk = true, run = true',
      "the command walk is in lua/tidewire/cli/settings.lua, but not in man/tidewire.1" },
    { "a command that the help lacks", HELP, "  check    loads", "  loads",
      "the command check is in " .. SETTINGS .. ", but not in " .. HELP },
  })
end)

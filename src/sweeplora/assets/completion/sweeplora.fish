# Completes sweeplora, and python -m sweeplora, in fish. In ~/.config/fish/config.fish:
#   python -m sweeplora completion fish | source

function __sweeplora_words --description 'what can stand in place of the current word'
    set -l tokens (commandline -opc)
    set -l program $tokens[1]
    set -l given
    if test (count $tokens) -ge 3; and test "$tokens[2]" = -m
        set program $tokens[1..3]
        set given $tokens[4..-1]
    else
        set given $tokens[2..-1]
    end
    type -q $program[1]; or set program @python@ -m sweeplora
    set -l found ($program completion --words -- $given (commandline -ct) 2>/dev/null)
    if test -n "$found"
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end

function __sweeplora_by_python --description 'whether the line begins with python -m sweeplora'
    set -l tokens (commandline -opc)
    test (count $tokens) -ge 3; and test "$tokens[2]" = -m; and test "$tokens[3]" = sweeplora
end

complete -c sweeplora -f -a '(__sweeplora_words)'
complete -c python -n __sweeplora_by_python -f -a '(__sweeplora_words)'
complete -c python3 -n __sweeplora_by_python -f -a '(__sweeplora_words)'

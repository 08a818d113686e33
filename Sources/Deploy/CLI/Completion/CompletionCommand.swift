/// `edge completion`: what makes a shell complete `edge` commands.
enum CompletionCommand: CommandGroup {
    static let name = "completion"
    static let summary = "Prints what makes bash, zsh or fish complete commands"
    static let discussion = """
        Prints a script for the shell, which asks `edge` itself: for commands and options, and for the names of tenants,
        workers, namespaces, databases, buckets and queues of the node that runs.

          bash   source <(edge completion bash)            # in ~/.bashrc
          zsh    source <(edge completion zsh)             # in ~/.zshrc, behind compinit
          fish   edge completion fish | source             # in ~/.config/fish/config.fish
        """
    static let commands: [any Command.Type] = [
        BashCompletionCommand.self, ZshCompletionCommand.self, FishCompletionCommand.self,
    ]
}

enum BashCompletionCommand: Command {
    static let name = "bash"
    static let summary = "For bash"

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        print(
            #"""
            _edge() {
                local current="${COMP_WORDS[COMP_CWORD]}" line
                # An equals sign is a word of its own to bash.
                [[ $current == "=" ]] && current=""
                COMPREPLY=()
                while IFS= read -r line; do
                    case "$line" in
                        :files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
                        :directories) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
                        *) COMPREPLY+=("$(printf '%q' "${line%%$'\t'*}")") ;;
                    esac
                done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
            }
            complete -F _edge edge
            """#)
        return ExitCode.success
    }
}

enum ZshCompletionCommand: Command {
    static let name = "zsh"
    static let summary = "For zsh"

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        print(
            #"""
            #compdef edge
            _edge() {
                local -a lines names
                lines=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
                case "${lines[1]}" in
                    :files) _files ;;
                    :directories) _files -/ ;;
                    '') ;;
                    *) names=("${(@)lines%%$'\t'*}"); compadd -a names ;;
                esac
            }
            compdef _edge edge
            """#)
        return ExitCode.success
    }
}

enum FishCompletionCommand: Command {
    static let name = "fish"
    static let summary = "For fish"

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        print(
            #"""
            function __edge_complete
                set -l words (commandline -opc)
                set -l lines ($words[1] __complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
                switch "$lines[1]"
                    case ':files'
                        __fish_complete_path (commandline -ct)
                    case ':directories'
                        __fish_complete_directories (commandline -ct)
                    case '*'
                        printf '%s\n' $lines
                end
            end
            complete -c edge -f -a '(__edge_complete)'
            """#)
        return ExitCode.success
    }
}
